{#
    The tokens that this step reads: those that no step has read yet, of all sequences, or of
    the one that the variable `relama_sequence_id` names. A select of
    (sequence_id, position, token_id), with a column is_long for long_factors.

    tokens        relation (sequence_id, position, token_id, has_read), with a column is_long for
                  long_factors
    long_factors  whether rotary embedding has two sets of factors, see `rotary_angles`
#}
{% macro step_input(tokens, long_factors=false) -%}
    {%- set sequence_id = var('relama_sequence_id', none) -%}
select
    t.sequence_id,
    t.position,
    t.token_id
    {%- if long_factors %},
    s.is_long as is_long
    {%- endif %}
from {{ tokens }} as t
inner join (
    {{ relama.sequences(tokens, long_factors) | indent(4) }}
) as s on t.sequence_id = s.sequence_id
where t.position >= s.has_read{% if sequence_id is not none %} and t.sequence_id = {{ sequence_id | int }}{% endif %}
{%- endmacro %}
