{#
    `length` elements of a vector after its first `offset`. An expression.
    `offset` may be an expression, `length` is a number.
#}
{% macro vector_slice(vector, offset, length) -%}
    {{ return(adapter.dispatch('vector_slice', 'relama')(vector, offset, length)) }}
{%- endmacro %}

{% macro default__vector_slice(vector, offset, length) -%}
    ({{ vector }})[({{ offset }}) + 1:({{ offset }}) + {{ length }}]
{%- endmacro %}
