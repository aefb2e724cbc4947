{# The quotient of two whole numbers, rounded down. An expression. #}
{% macro integer_divide(a, b) -%}
    {{ return(adapter.dispatch('integer_divide', 'relama')(a, b)) }}
{%- endmacro %}

{% macro default__integer_divide(a, b) -%}
    {{ a }} / {{ b }}
{%- endmacro %}

{% macro duckdb__integer_divide(a, b) -%}
    {{ a }} // {{ b }}
{%- endmacro %}
