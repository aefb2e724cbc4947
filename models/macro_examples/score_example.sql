-- logprob[position] = logit - log_normaliser, both of the position before
with logits as (

    select * from {{ ref('example_logits') }}

),

tokens as (

    select * from {{ ref('example_tokens') }}

),

scored as (

    {{ relama.score('logits', 'tokens') | indent(4) }}

)

select
    sequence_id,
    position,
    token_id,
    round(cast(logprob as double precision), 4) as logprob
from scored
