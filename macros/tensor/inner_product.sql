{#
    The dot product of two vectors of the same length: sum over i of a[i] * b[i].
    An expression.
#}
{% macro _inner_product(a, b) -%}
    {{ return(adapter.dispatch('_inner_product', 'relama')(a, b)) }}
{%- endmacro %}

{% macro default___inner_product(a, b) -%}
    (
        select sum(cast(p.x as double precision) * p.y)
        from unnest({{ a }}, {{ b }}) as p (x, y)
    )
{%- endmacro %}

{# https://duckdb.org/docs/stable/sql/functions/list #}
{% macro duckdb___inner_product(a, b) -%}
    list_inner_product({{ a }}, {{ b }})
{%- endmacro %}

{# https://clickhouse.com/docs/sql-reference/functions/array-functions#arrayDotProduct #}
{% macro clickhouse___inner_product(a, b) -%}
    arrayDotProduct({{ a }}, {{ b }})
{%- endmacro %}
