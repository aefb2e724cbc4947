{{ config(materialized=relama.activation()) }}

-- Weighs the values of all positions up to its own by how well their keys fit the query.
-- y = softmax(query . key / sqrt(8)) . value
-- query: [6, 8] -> y: [48]
with rotary_embedding as (

    select * from {{ relama.input('layer_01__rotary_embedding') }}

),

kv_append as (

    select * from {{ relama.input('layer_01__kv_append') }}

),

paged as (

    select * from {{ relama.input('paged') }}

),

kv_cache as (

    select * from {{ source('state', 'layer_01__kv_cache').render() }}

),

kv_pages as (

    select * from {{ source('state', 'layer_01__kv_pages').render() }}

),

attention as (

    {{ relama.attention(
        'rotary_embedding',
        'kv_cache',
        'kv_append',
        'kv_pages',
        'paged',
        num_heads=6,
        num_kv_heads=2,
        head_dim=8,
        parallelism=2,
        single_token=relama.single_token()
    ) | indent(4) }}

)

select * from attention
