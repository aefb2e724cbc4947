{{ config(materialized=relama.activation()) }}

-- Linear layer, with the residual connection.
-- y = weight x + bias + residual
-- weight: [48, 48], x: [48] -> y: [48]
with hidden as (

    select * from {{ relama.input('layer_01__attention') }}

),

residual as (

    select * from {{ relama.input('layer_00__down_proj') }}

),

product as (

    {{ relama.block_matmul(
        'hidden',
        ref('layer_01__o_proj_weight'),
        blocks=1,
        storage='float32',
        bias=true,
        residual='residual',
        single_token=relama.single_token()
    ) | indent(4) }}

)

select * from product
