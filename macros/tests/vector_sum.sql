{# The sum of a vector's elements. An expression. #}
{% macro vector_sum(vector) -%}
    {{ return(adapter.dispatch('vector_sum', 'relama')(vector)) }}
{%- endmacro %}

{% macro default__vector_sum(vector) -%}
    (select sum(e.x) from unnest({{ vector }}) as e (x))
{%- endmacro %}

{% macro duckdb__vector_sum(vector) -%}
    list_sum({{ vector }})
{%- endmacro %}
