{{ config(materialized=relama.activation()) }}

-- Scores every token of the vocabulary as the next one.
-- logit = weight x
-- weight: [101, 48], x: [48] -> logit: [101]
with final_norm as (

    select * from {{ relama.input('final_norm') }}

),

last_position as (

    {{ relama.last_position('final_norm') | indent(4) }}

),

logits as (

    {{ relama.logits(
        'last_position',
        ref('lm_head_weight').render(),
        storage='float32',
        single_token=relama.single_token()
    ) | indent(4) }}

)

select * from logits
