-- logit = softcap * tanh(multiplier * weight x / softcap)
with hidden as (

    select * from {{ ref('example_hidden') }}

),

logits as (

    {{ relama.logits('hidden', ref('example_matrix'), multiplier=2, softcap=2) | indent(4) }}

)

select
    sequence_id,
    position,
    token_id,
    round(logit, 4) as logit
from logits
