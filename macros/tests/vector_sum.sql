{# The sum of a vector's elements. An expression. #}
{% macro _vector_sum(vector) -%}
    {{ return(adapter.dispatch('_vector_sum', 'relama')(vector)) }}
{%- endmacro %}

{% macro default___vector_sum(vector) -%}
    (select sum(e.x) from unnest({{ vector }}) as e (x))
{%- endmacro %}

{% macro duckdb___vector_sum(vector) -%}
    list_sum({{ vector }})
{%- endmacro %}

{% macro clickhouse___vector_sum(vector) -%}
    arraySum({{ vector }})
{%- endmacro %}
