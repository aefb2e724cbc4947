{{ config(materialized=relama.activation()) }}

-- Turns queries and keys by an angle that grows with the position.
-- y = x * cos(angle) + rotate_half(x) * sin(angle)
-- x: [80] -> y: [64], query heads before key heads
with qkv_proj as (

    select * from {{ relama.input('layer_00__qkv_proj') }}

),

rotary_angles as (

    select * from {{ relama.input('rotary_angles') }}

),

rotary_embedding as (

    {{ relama.rotary_embedding(
        [
            ('qkv_proj', 8),
        ],
        'rotary_angles',
        head_dim=8,
        single_token=relama.single_token()
    ) | indent(4) }}

)

select * from rotary_embedding
