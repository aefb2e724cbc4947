{#
    The tokens that this step reads: those that no step has read yet, of all sequences, or of
    the one that the variable `relama_sequence_id` names. A select of
    (sequence_id, position, token_id).

    tokens  relation (sequence_id, position, token_id, has_read)
#}
{% macro step_input(tokens) -%}
    {%- set sequence_id = var('relama_sequence_id', none) -%}
select
    t.sequence_id,
    t.position,
    t.token_id
from {{ tokens }} as t
inner join (
    {{ relama.sequences(tokens) | indent(4) }}
) as s on t.sequence_id = s.sequence_id
where t.position >= s.has_read{% if sequence_id is not none %} and t.sequence_id = {{ sequence_id | int }}{% endif %}
{%- endmacro %}
