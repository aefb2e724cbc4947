with rotated as (

    select * from << read(inputs[0]) >>

),

projected as (

    select * from << read(inputs[1]) >>

),

key_values as (

    {{ relama.kv_append(
        'rotated',
        'projected',
        value_offset=<< attributes.value_offset >>,
        num_heads=<< attributes.num_attention_heads >>,
        num_kv_heads=<< attributes.num_key_value_heads >>,
        head_dim=<< attributes.head_dim >>,
        single_token=relama.single_token()
    ) | indent(4) }}

)

select * from key_values
