{#
    Lays a matrix out for `block_matmul`: a select of one row with the columns
    block_0, block_1, ..., each a list of rows of the matrix from top to bottom,
    and bias, a list of one number a row.

    In storage int8 a row is TINYINT[] and scales_0, scales_1, ... hold the number
    that each row is to be multiplied by.

    relation  relation (row_id, vector), with bias and scale where there are any
    rows      number of rows of the matrix
    blocks    number of blocks
    storage   float32 or int8
    bias      whether there is a bias
#}
{% macro matrix_blocks(relation, rows, blocks, storage='float32', bias=false) -%}
    {{ return(adapter.dispatch('matrix_blocks', 'relama')(
        relation, rows, blocks, storage, bias
    )) }}
{%- endmacro %}

{% macro duckdb__matrix_blocks(relation, rows, blocks, storage, bias) -%}
    {%- set columns = [] -%}
    {%- for block in range(blocks) -%}
        {%- set within -%}
            filter (row_id >= {{ rows * block // blocks }} and row_id < {{ rows * (block + 1) // blocks }})
        {%- endset -%}
        {%- do columns.append(
            'list(vector order by row_id) ' ~ within ~ ' as block_' ~ block
        ) -%}
        {%- if storage != 'float32' -%}
            {%- do columns.append(
                'list(scale order by row_id) ' ~ within ~ ' as scales_' ~ block
            ) -%}
        {%- endif -%}
    {%- endfor -%}
    {%- if bias -%}{%- do columns.append('list(bias order by row_id) as bias') -%}{%- endif -%}
select
    {{ columns | join(',\n    ') }}
from {{ relation }}
{%- endmacro %}
