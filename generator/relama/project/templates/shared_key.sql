<< name >> as (

    {{ relama.shared_key(
        '<< reads[0] >>',
        '<< reads[1] >>',
        num_heads=<< attributes.num_heads >>,
        head_dim=<< attributes.head_dim >>,
        shared_dim=<< attributes.shared_dim >>,
        single_token=relama.single_token()
    ) | indent(4) }}

)
