{#
    The row of a matrix as float32, see `quantize_int8` and `quantize_int4`. An
    expression.

    row  alias of a relation with the columns of the storage
#}
{% macro dequantized(row, storage) -%}
    {{ return(adapter.dispatch('dequantized', 'relama')(row, storage)) }}
{%- endmacro %}

{% macro duckdb__dequantized(row, storage) -%}
    {%- if storage == 'float32' -%}
        {{ row }}.vector
    {%- elif storage == 'int8' -%}
        list_transform({{ row }}.vector, lambda code: code * {{ row }}.scale)
    {%- else -%}
        flatten(list_transform({{ row }}.vector, lambda g, i: list_transform(
            cast(g as tinyint[]),
            lambda code: cast(
                code * {{ row }}.scale * {{ row }}.steps[i]
                + {{ row }}.offset_scale * {{ row }}.offsets[i] as real
            )
        )))
    {%- endif -%}
{%- endmacro %}
