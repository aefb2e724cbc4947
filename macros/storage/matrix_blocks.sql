{#
    Lays a matrix out for `block_matmul`: a select of one row with the columns
    block_0, block_1, ..., each a list of rows of the matrix from top to bottom,
    and bias, a list of one number a row.

    A row is what the storage says (`block_row` of `_storage`), and beside the blocks stand
    its `block_columns`.

    relation  relation (row_id, vector), with bias and what else `quantized` gives
    rows      number of rows of the matrix
    blocks    number of blocks
    storage   one that has blocks: float32, int8 or int4
    bias      whether there is a bias
#}
{% macro matrix_blocks(relation, rows, blocks, storage='float32', bias=false) -%}
    {{ return(adapter.dispatch('matrix_blocks', 'relama')(
        relation, rows, blocks, storage, bias
    )) }}
{%- endmacro %}

{% macro duckdb__matrix_blocks(relation, rows, blocks, storage, bias) -%}
    {%- set columns = [] -%}
    {%- set row = relama._storage(storage, 'block_row') -%}
    {%- for block in range(blocks) -%}
        {%- set within -%}
            filter (where row_id >= {{ rows * block // blocks }} and row_id < {{ rows * (block + 1) // blocks }})
        {%- endset -%}
        {%- do columns.append(
            'list(\n        ' ~ row ~ ' order by row_id\n    ) ' ~ within ~ ' as block_' ~ block
        ) -%}
    {%- endfor -%}
    {%- for name, expression in relama._storage(storage, 'block_columns').items() -%}
        {%- do columns.append(expression ~ ' as ' ~ name) -%}
    {%- endfor -%}
    {%- if bias -%}{%- do columns.append('list(bias order by row_id) as bias') -%}{%- endif -%}
select
    {{ columns | join(',\n    ') }}
from {{ relation }}
{%- endmacro %}
