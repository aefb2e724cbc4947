{{ config(materialized=relama.activation()) }}

-- Weighs the values of all positions.
-- y = sum over positions of weight * value
-- weight: [6, positions] -> y: [48]
with attention_weights as (

    select * from {{ ref('layer_00__attention_weights') }}

),

cached as (

    select * from {{ source('state', 'layer_00__kv_cache') }}

),

appended as (

    select * from {{ ref('layer_00__kv_append') }}

),

attended as (

    {{ relama.attention(
        'attention_weights',
        'cached',
        'appended',
        num_heads=6,
        num_kv_heads=2,
        head_dim=8
    ) | indent(4) }}

)

select * from attended
