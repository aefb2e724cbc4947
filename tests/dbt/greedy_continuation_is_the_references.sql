{{ config(enabled=project_name == 'relama') }}

-- The most likely continuation of the reference's prompt is the reference's, however
-- many steps have run. Sequences with another prompt, and sampled ones, are left alone.
with tokens as (

    select * from {{ ref('tokens') }}

),

reference as (

    select * from {{ ref('greedy_reference') }}

),

sampling as (

    select * from {{ ref('sampling') }}

),

compared as (

    select
        tokens.sequence_id,
        tokens.position,
        tokens.is_prompt,
        tokens.token_id,
        reference.token_id as expected
    from tokens
    inner join reference on tokens.position = reference.position

),

same_prompt as (

    select sequence_id
    from compared
    where is_prompt
    group by sequence_id
    having
        count(*) = {{ var('relama_prompt_token_ids') | length }}
        and min(case when token_id = expected then 1 else 0 end) = 1

)

select compared.*
from compared
inner join same_prompt on compared.sequence_id = same_prompt.sequence_id
cross join sampling
where
    sampling.temperature = 0
    and not compared.is_prompt
    and compared.token_id <> compared.expected
