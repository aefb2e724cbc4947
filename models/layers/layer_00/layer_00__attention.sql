{{ config(materialized=relama.activation()) }}

-- Weighs the values of all positions by how well their keys fit the query.
-- y = softmax(query . key / sqrt(8)) . value
-- query: [6, 8] -> y: [48]
with rotated as (

    select * from {{ relama.input('layer_00__rotary_embedding') }}

),

cached as (

    select * from {{ source('state', 'layer_00__kv_cache') }}

),

appended as (

    select * from {{ relama.input('layer_00__kv_append') }}

),

pages as (

    select * from {{ source('state', 'layer_00__kv_pages') }}

),

paged as (

    select * from {{ relama.input('paged') }}

),

attended as (

    {{ relama.attention(
        'rotated',
        'cached',
        'appended',
        'pages',
        'paged',
        num_heads=6,
        num_kv_heads=2,
        head_dim=8,
        parallelism=2,
        single_token=relama.single_token()
    ) | indent(4) }}

)

select * from attended
