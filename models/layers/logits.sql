{{ config(materialized=relama.activation()) }}

-- Scores every token of the vocabulary as the next one.
-- logit = weight x
-- weight: [101, 48], x: [48] -> logit: [101]
with hidden as (

    {{ relama.last_position(relama.input('final_norm')) | indent(4) }}

),

logits as (

    {{ relama.logits('hidden', ref('lm_head_weight'), storage='float32') | indent(4) }}

)

select * from logits
