{{ config(materialized=relama.activation()) }}

-- Root mean square normalisation.
-- y = x / sqrt(mean(x^2) + eps) * weight
-- x: [48], weight: [48] -> y: [48]
with hidden as (

    select * from {{ relama.input('embedding') }}

),

attention_norm as (

    {{ relama.rms_norm('hidden', ref('layer_00__attention_norm_weight').render(), eps=1e-05) | indent(4) }}

)

select * from attention_norm
