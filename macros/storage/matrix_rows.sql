{#
    The rows of a matrix that is stored in blocks: a select of
    (row_id, vector), and what else the storage has. For queries and tests.

    weight   relation of one row, see `matrix_blocks`
    rows     number of rows of the matrix
    blocks   number of blocks
    storage  one that has blocks: float32, int8 or int4
#}
{% macro matrix_rows(weight, rows, blocks, storage='float32') -%}
    {{ return(adapter.dispatch('matrix_rows', 'relama')(weight, rows, blocks, storage)) }}
{%- endmacro %}

{% macro duckdb__matrix_rows(weight, rows, blocks, storage) -%}
    {%- for block in range(blocks) -%}
        {%- if not loop.first %}

union all

{% endif -%}
select
    {{ rows * block // blocks }} + unnest(range(len(block_{{ block }}))) as row_id,
    {{ relama._storage(storage, 'row_of_block') | replace('block', 'block_' ~ block) }}
from {{ weight }}
    {%- endfor -%}
{%- endmacro %}
