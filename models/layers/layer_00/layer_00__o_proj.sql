{{ config(materialized=relama.activation()) }}

-- Linear layer, with the residual connection.
-- y = weight x + bias + residual
-- weight: [48, 48], x: [48] -> y: [48]
with attention as (

    select * from {{ relama.input('layer_00__attention') }}

),

hidden as (

    select * from {{ relama.input('embedding') }}

),

o_proj as (

    {{ relama.block_matmul(
        'attention',
        ref('layer_00__o_proj_weight').render(),
        blocks=1,
        storage='float32',
        bias=true,
        residual='hidden',
        single_token=relama.single_token()
    ) | indent(4) }}

)

select * from o_proj
