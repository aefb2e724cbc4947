{#
    The rows of a matrix that is stored in blocks: a select of
    (row_id, vector), and what else the storage has. For queries and tests.

    weight       relation of one row, or of one for each expert, see `matrix_blocks`
    rows         number of rows of the matrix
    blocks       number of blocks, of each expert where there are experts
    storage      one that has blocks: float32, int8 or int4
    num_experts  how many experts the matrix has the rows of; 0 for a matrix that has none
#}
{% macro matrix_rows(weight, rows, blocks, storage='float32', num_experts=0) -%}
    {{ return(adapter.dispatch('matrix_rows', 'relama')(
        weight, rows, blocks, storage, num_experts
    )) }}
{%- endmacro %}

{% macro duckdb__matrix_rows(weight, rows, blocks, storage, num_experts) -%}
    {%- set each = rows // num_experts if num_experts else rows -%}
    {%- for block in range(blocks) -%}
        {%- if not loop.first %}

union all

{% endif -%}
select
    {{ 'expert_id * ' ~ each ~ ' + ' if num_experts }}{{ each * block // blocks }} + unnest(range(len(block_{{ block }}))) as row_id,
    {{ relama._storage(storage, 'row_of_block') | replace('block', 'block_' ~ block) }}
from {{ weight }}
        {%- if num_experts %}
where expert_id is not null
        {%- endif -%}
    {%- endfor -%}
{%- endmacro %}
