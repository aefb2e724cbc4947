{#
    The log-probability of each token that is already known, given the tokens
    before it. A select of (sequence_id, position, token_id, logprob).

    logits  relation (sequence_id, position, token_id, logit): the logits of
            position p predict the token at p + 1
    tokens  relation (sequence_id, position, token_id)
#}
{% macro score(logits, tokens) -%}
with normalised as (

    {{ relama.log_normaliser(logits) | indent(4) }}

)

select
    t.sequence_id as sequence_id,
    t.position as position,
    t.token_id as token_id,
    cast(l.logit - n.log_normaliser as real) as logprob
from {{ logits }} as l
inner join {{ tokens }} as t
    on
        l.sequence_id = t.sequence_id
        and l.position + 1 = t.position
        and l.token_id = t.token_id
inner join normalised as n
    on l.sequence_id = n.sequence_id and l.position = n.position
{%- endmacro %}
