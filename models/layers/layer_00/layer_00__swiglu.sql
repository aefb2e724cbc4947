{{ config(materialized=relama.activation()) }}

-- The gated activation of the MLP.
-- y = gate * sigmoid(gate) * up
-- gate, up: [88] -> y: [88]
with gate_up as (

    select * from {{ relama.input('layer_00__gate_up_proj') }}

),

activated as (

    {{ relama.swiglu('gate_up', none, size=88) | indent(4) }}

)

select * from activated
