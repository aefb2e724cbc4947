{#
    The logarithm of the sum of exp(logit), over the vocabulary, and the largest
    logit, which is subtracted first so that exp does not overflow. A select of
    (sequence_id, position, largest, log_normaliser). Fails where a logit is NaN, which is
    larger than any number, or where the largest is infinite.

    logits        relation (sequence_id, position, token_id, logit)
    single_token  see the macro of this name
#}
{% macro log_normaliser(logits, single_token=false) -%}
    {{ return(adapter.dispatch('log_normaliser', 'relama')(logits, single_token)) }}
{%- endmacro %}

{% macro default__log_normaliser(logits, single_token) -%}
select
    {{ relama._of_token('l', single_token) | indent(4) }},
    min(m.largest) as largest,
    min(m.largest) + ln(sum({{ relama._exponential('l.logit - m.largest') }})) as log_normaliser
from {{ logits }} as l
inner join (
    select
        {{ relama._of_token('a', single_token) | indent(8) }},
        {{ relama._finite('max(a.logit)', 'The logits') | indent(8) }} as largest
    from {{ logits }} as a
    {{- relama._group_by_token('a', single_token) | indent(4) }}
) as m on {{ relama._same('l', 'm', ['sequence_id', 'position'], single_token) }}
{{- relama._group_by_token('l', single_token) }}
{%- endmacro %}

{% macro clickhouse__log_normaliser(logits, single_token) -%}
select
    sequence_id,
    position,
    {{ relama._largest_of('listed') }} as largest,
    largest + log(arraySum(x -> exp(x - largest), listed)) as log_normaliser
from (
    select
        sequence_id,
        position,
        groupArray(logit) as listed
    from {{ logits }}
    group by sequence_id, position
) as measured
{%- endmacro %}

{# The largest of a list of logits on ClickHouse, whose `max` passes NaN over. #}
{% macro _largest_of(listed) -%}
    {{ relama._finite(
        'if(arrayExists(x -> isNaN(x), ' ~ listed ~ '), nan, arrayMax(' ~ listed ~ '))',
        'The logits'
    ) }}
{%- endmacro %}

{#
    The same of lists of logits, which stand beside it: a select of
    (sequence_id, position, logits, largest, log_normaliser).

    listed  a select of (sequence_id, position, logits)
#}
{% macro _normalised_lists(listed) -%}
with measured as (

    select
        *,
        list_max(logits) as maximum
    from (

        {{ listed | indent(8) }}

    )

),

checked as (

    select
        * exclude (maximum),
        {{ relama._finite('maximum', 'The logits') | indent(8) }} as largest
    from measured

)

select
    *,
    largest + ln(list_sum(list_transform(
        logits, lambda logit: {{ relama._exponential('logit - largest') }}
    ))) as log_normaliser
from checked
{%- endmacro %}

{#
    The columns that say of which token the rows of a group are. Grouping 49,152 rows that are all
    of a single token would take longer than to add them up.
#}
{% macro _of_token(alias, single_token) -%}
    {%- if single_token -%}
min({{ alias }}.sequence_id) as sequence_id,
min({{ alias }}.position) as position
    {%- else -%}
{{ alias }}.sequence_id,
{{ alias }}.position
    {%- endif -%}
{%- endmacro %}

{# Ends an aggregation that begins with `_of_token`. #}
{% macro _group_by_token(alias, single_token) -%}
    {%- if not single_token %}
group by {{ alias }}.sequence_id, {{ alias }}.position
    {%- endif -%}
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

{% macro clickhouse___finite(x, sentence) -%}
toFloat32({{ x }} + throwIf(not isFinite({{ x }}), {{ relama._text_literal(sentence) }}))
{%- endmacro %}
