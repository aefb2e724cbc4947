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
    m.largest + ln(sum({{ relama._exponential('l.logit - m.largest') }})) as log_normaliser
from {{ logits }} as l
inner join (
    select
        sequence_id,
        position,
        {{ relama._finite('max(logit)', 'The logits') | indent(8) }} as largest
    from {{ logits }}
    group by sequence_id, position
) as m on l.sequence_id = m.sequence_id and l.position = m.position
group by l.sequence_id, l.position, m.largest
{%- endmacro %}

{#
    A number that must be one: the statement fails where it is NaN or infinite, and says
    so. An expression.

    x     an expression of type real or double precision
    what  what such numbers are, a text
#}
{% macro _finite(x, what) -%}
    {{ return(adapter.dispatch('_finite', 'relama')(x, what ~ ' are NaN or infinite.')) }}
{%- endmacro %}

{# A cast that fails is the only error that every database can be told to raise. #}
{% macro default___finite(x, sentence) -%}
case
    when {{ x }} between -3.5e38 and 3.5e38 then {{ x }}
    else cast({{ relama._text_literal(sentence) }} || ' ' || {{ x }} as real)
end
{%- endmacro %}

{% macro duckdb___finite(x, sentence) -%}
case
    when isfinite({{ x }}) then {{ x }}
    else error({{ relama._text_literal(sentence) }})
end
{%- endmacro %}
