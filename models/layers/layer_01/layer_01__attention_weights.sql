{{ config(materialized=relama.activation()) }}

-- How much each head attends to each position, to all positions up to its own alone.
-- weight = softmax(query . key / sqrt(8))
-- query: [6, 8] -> weight: [6, positions]
with rotary_embedding as (

    select * from {{ relama.input('layer_01__rotary_embedding') }}

),

kv_append as (

    select * from {{ relama.input('layer_01__kv_append') }}

),

kv_cache as (

    select * from {{ source('state', 'layer_01__kv_cache').render() }}

),

attention_weights as (

    {{ relama.attention_weights(
        'rotary_embedding',
        'kv_cache',
        'kv_append',
        num_heads=6,
        num_kv_heads=2,
        head_dim=8
    ) | indent(4) }}

)

select * from attention_weights
