{#
    The row of a quantised matrix as float32: code[i] * scale. An expression.

    row  alias of a relation (vector), and scale in storage int8
#}
{% macro dequantized(row, storage) -%}
    {{ return(adapter.dispatch('dequantized', 'relama')(row, storage)) }}
{%- endmacro %}

{% macro duckdb__dequantized(row, storage) -%}
    {%- if storage == 'float32' -%}
        {{ row }}.vector
    {%- else -%}
        list_transform({{ row }}.vector, lambda code: code * {{ row }}.scale)
    {%- endif -%}
{%- endmacro %}
