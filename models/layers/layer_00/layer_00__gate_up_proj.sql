{{ config(materialized=relama.activation()) }}

-- Linear layer.
-- y = weight x + bias
-- weight: [176, 48], x: [48] -> y: [176]
with mlp_norm as (

    select * from {{ relama.input('layer_00__mlp_norm') }}

),

gate_up_proj as (

    {{ relama.block_matmul(
        'mlp_norm',
        ref('layer_00__gate_up_proj_weight').render(),
        blocks=1,
        storage='float32',
        bias=true,
        single_token=relama.single_token()
    ) | indent(4) }}

)

select * from gate_up_proj
