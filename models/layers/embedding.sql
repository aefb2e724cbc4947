{{ config(materialized=relama.activation()) }}

-- Looks up the vector of each token.
-- x = weight[token_id]
-- weight: [101, 48] -> x: [48]
with step_input as (

    select * from {{ relama.input('step_input') }}

),

embedding as (

    {{ relama.embedding('step_input', ref('embedding_weight').render(), storage='float32') | indent(4) }}

)

select * from embedding
