with rotated as (

    select * from {{ ref('<< inputs[0] >>') }}

),

projected as (

    select * from {{ ref('<< inputs[1] >>') }}

)

{{ relama.kv_append(
    'rotated',
    'projected',
    value_offset=<< attributes.value_offset >>,
    num_heads=<< config.num_attention_heads >>,
    head_dim=<< config.head_dim >>
) }}
