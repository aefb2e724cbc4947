{{ config(materialized=relama.activation()) }}

-- Linear layer.
-- y = weight x + bias
-- weight: [80, 48], x: [48] -> y: [80]
with attention_norm as (

    select * from {{ relama.input('layer_01__attention_norm') }}

),

qkv_proj as (

    {{ relama.block_matmul(
        'attention_norm',
        ref('layer_01__qkv_proj_weight').render(),
        blocks=1,
        storage='float32',
        bias=true,
        single_token=relama.single_token()
    ) | indent(4) }}

)

select * from qkv_proj
