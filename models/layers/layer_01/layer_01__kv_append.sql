{{ config(materialized=relama.activation()) }}

-- The keys and values of this step, as they go into the cache.
-- key = rotated[kv_head], value = projected[kv_head]
-- key, value: [2, 8]
with rotary_embedding as (

    select * from {{ relama.input('layer_01__rotary_embedding') }}

),

qkv_proj as (

    select * from {{ relama.input('layer_01__qkv_proj') }}

),

kv_append as (

    {{ relama.kv_append(
        'rotary_embedding',
        'qkv_proj',
        value_offset=64,
        num_heads=6,
        num_kv_heads=2,
        head_dim=8,
        single_token=relama.single_token()
    ) | indent(4) }}

)

select * from kv_append
