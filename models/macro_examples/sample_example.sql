-- The next token, by the one row of settings.
with logits as (

    select * from {{ ref('example_logits') }}

),

sampling as (

    select * from {{ ref('example_sampling') }}

),

sampled as (

    {{ relama.sample('logits', 'sampling') | indent(4) }}

)

select
    sequence_id,
    position,
    token_id,
    round(cast(logprob as double precision), 4) as logprob
from sampled
