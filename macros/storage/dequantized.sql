{#
    The stored row of a matrix as float32. An expression.

    row      alias of a relation with the columns of the storage
    columns  elements of the row; without it, what fills up a last group stays
#}
{% macro _dequantized(row, storage, columns=none) -%}
    {{- relama._storage(storage, 'dequantized')(row, columns) -}}
{%- endmacro %}
