{#
    The logarithm of the sum of exp(logit), over the vocabulary, and the largest
    logit, which is subtracted first so that exp does not overflow. A select of
    (sequence_id, position, largest, log_normaliser). Fails where a logit is NaN, which is
    larger than any number, or where the largest is infinite.

    logits  relation (sequence_id, position, token_id, logit)
#}
{% macro log_normaliser(logits) -%}
select
    l.sequence_id,
    l.position,
    m.largest,
    m.largest + ln(sum({{ relama.exponential('l.logit - m.largest') }})) as log_normaliser
from {{ logits }} as l
inner join (
    select
        sequence_id,
        position,
        {{ relama.finite('max(logit)', 'The logits are NaN or infinite') | indent(8) }} as largest
    from {{ logits }}
    group by sequence_id, position
) as m on l.sequence_id = m.sequence_id and l.position = m.position
group by l.sequence_id, l.position, m.largest
{%- endmacro %}
