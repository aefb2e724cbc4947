{#
    The whole numbers 0 to n - 1 as a table with one column, to stand in a
    `from` clause.
#}
{% macro _series(n, alias, column) -%}
    {{ return(adapter.dispatch('_series', 'relama')(n, alias, column)) }}
{%- endmacro %}

{% macro default___series(n, alias, column) -%}
    generate_series(0, {{ n - 1 }}) as {{ alias }} ({{ column }})
{%- endmacro %}

{# https://duckdb.org/docs/stable/sql/functions/list#range-functions #}
{% macro duckdb___series(n, alias, column) -%}
    range({{ n }}) as {{ alias }} ({{ column }})
{%- endmacro %}

{% macro clickhouse___series(n, alias, column) -%}
    (select toInt32(number) as {{ column }} from numbers({{ n }})) as {{ alias }}
{%- endmacro %}
