{# The quotient of two whole numbers, rounded down. An expression. #}
{% macro _integer_divide(a, b) -%}
    {{ return(adapter.dispatch('_integer_divide', 'relama')(a, b)) }}
{%- endmacro %}

{% macro default___integer_divide(a, b) -%}
    ({{ a }}) / ({{ b }})
{%- endmacro %}

{% macro duckdb___integer_divide(a, b) -%}
    ({{ a }}) // ({{ b }})
{%- endmacro %}

{# `/` would give a fraction. #}
{% macro clickhouse___integer_divide(a, b) -%}
    intDiv({{ a }}, {{ b }})
{%- endmacro %}
