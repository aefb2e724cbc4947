{{ config(materialized=relama.activation()) }}

-- Linear layer, with the residual connection.
-- y = weight x + bias + residual
-- weight: [48, 88], x: [88] -> y: [48]
with swiglu as (

    select * from {{ relama.input('layer_01__swiglu') }}

),

o_proj as (

    select * from {{ relama.input('layer_01__o_proj') }}

),

down_proj as (

    {{ relama.block_matmul(
        'swiglu',
        ref('layer_01__down_proj_weight').render(),
        blocks=1,
        storage='float32',
        bias=true,
        residual='o_proj',
        single_token=relama.single_token()
    ) | indent(4) }}

)

select * from down_proj
