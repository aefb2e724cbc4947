-- log_normaliser = ln(sum(exp(logit)))
with logits as (

    select * from {{ ref('example_logits') }}

),

normalised as (

    {{ relama.log_normaliser('logits') | indent(4) }}

)

select
    sequence_id,
    position,
    round(cast(largest as double precision), 4) as largest,
    round(cast(log_normaliser as double precision), 4) as log_normaliser
from normalised
