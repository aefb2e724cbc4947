<% if library %>{{ config(enabled=model.package_name == project_name) }}

<% endif %>-- Every token that might come next, with its logit and log-probability.
<%- for name in layers %>
-- depends_on: {{ ref('<< name >>') }}
<%- endfor %>
-- depends_on: {{ ref('final_norm') }}
with logits as (

    select * from {{ ref('logits') }}

),

normalised as (

    {{ relama.log_normaliser('logits') | indent(4) }}

)

select
    logits.sequence_id,
    logits.position,
    logits.token_id,
    logits.logit,
    logits.logit - normalised.log_normaliser as logprob
from logits
inner join normalised
    on
        logits.sequence_id = normalised.sequence_id
        and logits.position = normalised.position
