{{ config(materialized='view') }}

-- The tokens of every sequence with their text.
with tokens as (

    select * from {{ ref('tokens') }}

),

vocabulary as (

    select * from {{ ref('vocabulary') }}

)

select
    tokens.sequence_id,
    tokens.position,
    tokens.token_id,
    vocabulary.token,
    tokens.is_prompt,
    tokens.logprob
from tokens
inner join vocabulary on tokens.token_id = vocabulary.token_id
