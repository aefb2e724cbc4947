{#
    The rows of a matrix as a storage keeps them: a select of row_id, the columns of the
    storage and, where there is one, bias.

    relation  relation (row_id, vector), with bias where `bias` is true
    storage   float32, int8, int4 or int567
    rows      number of rows of the matrix; int567 needs it
    bias      whether there is a bias
#}
{% macro quantized(relation, storage, rows=none, bias=false) -%}
    {{- relama._storage(storage, 'quantized')(relation, rows, bias) -}}
{%- endmacro %}
