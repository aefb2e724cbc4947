{{ config(materialized=relama.activation()) }}

-- How much each head attends to each position up to its own.
-- weight = softmax(query . key / sqrt(8))
-- query: [6, 8] -> weight: [6, positions]
with rotated as (

    select * from {{ relama.input('layer_01__rotary_embedding') }}

),

cached as (

    select * from {{ source('state', 'layer_01__kv_cache') }}

),

appended as (

    select * from {{ relama.input('layer_01__kv_append') }}

),

attention_weights as (

    {{ relama.attention_weights(
        'rotated',
        'cached',
        'appended',
        num_heads=6,
        num_kv_heads=2,
        head_dim=8
    ) | indent(4) }}

)

select * from attention_weights
