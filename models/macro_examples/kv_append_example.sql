-- key = rotated[kv_head], behind four query heads; value = projected[kv_head], behind two elements
with rotated as (

    select * from {{ ref('example_hidden') }}

),

projected as (

    select * from {{ ref('example_projected') }}

),

key_values as (

    {{ relama.kv_append(
        'rotated',
        'projected',
        value_offset=2,
        num_heads=4,
        num_kv_heads=2,
        head_dim=2
    ) | indent(4) }}

)

select * from key_values
