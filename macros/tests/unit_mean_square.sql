{#
    The output of RMSNorm, divided by its weight again, has a mean square of 1.
    It is a little less where the input is so small that eps shows. Elements
    whose weight is 0 cannot be divided and are left out. The weight of a norm per
    head is that of each head.

    model      relation with a column vector
    weight     relation of one row (row_id, vector)
    tolerance  how far a mean square may be off
#}
{% test unit_mean_square(model, weight, tolerance=0.02) %}
with divided as (

    select
        x.*,
        {{ relama._mean_square_quotient('x.vector', 'w.vector') | indent(8) }} as mean_square
    from {{ model }} as x
    cross join {{ weight }} as w

)

select *
from divided
where mean_square is null or not abs(mean_square - 1) <= {{ tolerance }}
{% endtest %}

{# The mean of (a[i] / b[i])^2 over the elements where b[i] is not 0; b is repeated. #}
{% macro _mean_square_quotient(a, b) -%}
    {{ return(adapter.dispatch('_mean_square_quotient', 'relama')(a, b)) }}
{%- endmacro %}

{% macro default___mean_square_quotient(a, b) -%}
    (
        select avg(power(p.x / nullif({{ b }}[(p.i - 1) % cardinality({{ b }}) + 1], 0), 2))
        from unnest({{ a }}) with ordinality as p (x, i)
    )
{%- endmacro %}

{% macro duckdb___mean_square_quotient(a, b) -%}
list_avg(list_transform(
    {{ a }},
    lambda x, i: (x / nullif({{ b }}[(i - 1) % len({{ b }}) + 1], 0)) ** 2
))
{%- endmacro %}

{% macro clickhouse___mean_square_quotient(a, b) -%}
arrayAvg(
    (x, i) -> pow(x / {{ b }}[(i - 1) % length({{ b }}) + 1], 2),
    arrayFilter((x, i) -> {{ b }}[(i - 1) % length({{ b }}) + 1] != 0, {{ a }}, arrayEnumerate({{ a }})),
    arrayFilter(i -> {{ b }}[(i - 1) % length({{ b }}) + 1] != 0, arrayEnumerate({{ a }}))
)
{%- endmacro %}
