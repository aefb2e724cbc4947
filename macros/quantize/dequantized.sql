{#
    The row of a matrix as float32, see `quantize_int8`, `quantize_int6` and
    `quantize_int4`. An expression.

    row  alias of a relation with the columns of the storage
#}
{% macro dequantized(row, storage) -%}
    {{ return(adapter.dispatch('dequantized', 'relama')(row, storage)) }}
{%- endmacro %}

{% macro duckdb__dequantized(row, storage) -%}
    {%- if storage == 'float32' -%}
        {{ row }}.vector
    {%- elif storage in ('int8', 'int6') -%}
        list_transform({{ row }}.vector, lambda code: code * {{ row }}.scale)
    {%- else -%}
        flatten(list_transform({{ row }}.vector, lambda g, i: list_transform(
            cast(g as tinyint[])[:32],
            lambda code: cast(
                (code - g[33] - g[34] / 16) * {{ row }}.scale * {{ row }}.steps[i]
                as real
            )
        )))
    {%- endif -%}
{%- endmacro %}
