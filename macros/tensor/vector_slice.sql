{#
    `length` elements of a vector after its first `offset`. An expression.
    `offset` may be an expression, `length` is a number.
#}
{% macro _vector_slice(vector, offset, length) -%}
    {{ return(adapter.dispatch('_vector_slice', 'relama')(vector, offset, length)) }}
{%- endmacro %}

{% macro default___vector_slice(vector, offset, length) -%}
    ({{ vector }})[({{ offset }}) + 1:({{ offset }}) + {{ length }}]
{%- endmacro %}

{% macro clickhouse___vector_slice(vector, offset, length) -%}
    arraySlice({{ vector }}, {{ offset }} + 1, {{ length }})
{%- endmacro %}
