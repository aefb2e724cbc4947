{{ config(materialized=relama.activation()) }}

-- The gated activation of the MLP.
-- y = gate * sigmoid(gate) * up
-- gate, up: [88] -> y: [88]
with gate_up_proj as (

    select * from {{ relama.input('layer_00__gate_up_proj') }}

),

swiglu as (

    {{ relama.swiglu('gate_up_proj', none, size=88) | indent(4) }}

)

select * from swiglu
