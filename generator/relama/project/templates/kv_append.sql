<< name >> as (

    {{ relama.kv_append(
        '<< reads[0] >>',
        '<< reads[1] >>',
        value_offset=<< attributes.value_offset >>,
        num_heads=<< attributes.num_attention_heads >>,
        num_kv_heads=<< attributes.num_key_value_heads >>,
        head_dim=<< attributes.head_dim >>,
        single_token=relama.single_token()
    ) | indent(4) }}

)
