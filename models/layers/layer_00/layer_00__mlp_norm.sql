{{ config(materialized=relama.activation()) }}

-- Root mean square normalisation.
-- y = x / sqrt(mean(x^2) + eps) * weight
-- x: [48], weight: [48] -> y: [48]
with o_proj as (

    select * from {{ relama.input('layer_00__o_proj') }}

),

mlp_norm as (

    {{ relama.rms_norm('o_proj', ref('layer_00__mlp_norm_weight').render(), eps=1e-05) | indent(4) }}

)

select * from mlp_norm
