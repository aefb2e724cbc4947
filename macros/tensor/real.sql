{# A constant or an expression as a 32-bit float. #}
{% macro _real(expression) -%}
    cast({{ expression }} as real)
{%- endmacro %}

{#
    A 64-bit float as one of 32 bits; one that is too small for that is 0, which PostgreSQL
    calls an error. An expression.
#}
{% macro _narrowed(expression) -%}
    {{ return(adapter.dispatch('_narrowed', 'relama')(expression)) }}
{%- endmacro %}

{% macro default___narrowed(expression) -%}
    {{ relama._real(expression) }}
{%- endmacro %}

{# What is left of a smaller number after that has few enough digits to be a real, or is 0. #}
{% macro postgres___narrowed(expression) -%}
    cast({{ expression }} + 1e-28 - 1e-28 as real)
{%- endmacro %}
