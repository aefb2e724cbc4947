{#
    The tokens that this step reads: those that no step has read yet. A token
    has a log-probability once a step has predicted it, and that step has read
    everything before it. A select of (sequence_id, position, token_id).

    tokens  relation (sequence_id, position, token_id, is_prompt, logprob)
#}
{% macro step_input(tokens) -%}
select
    t.sequence_id,
    t.position,
    t.token_id
from {{ tokens }} as t
left join (
    select
        sequence_id,
        max(position) as position
    from {{ tokens }}
    where logprob is not null
    group by sequence_id
) as predicted on t.sequence_id = predicted.sequence_id
where t.position >= coalesce(predicted.position, 0)
{%- endmacro %}
