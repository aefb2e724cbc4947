{#
    Lays a matrix out for `block_matmul`: a select of one row with the columns
    block_0, block_1, ..., each a list of rows of the matrix from top to bottom,
    and bias, a list of one number a row.

    A row is what the storage says (`block_row` of `_storage`), and beside the blocks stand
    its `block_columns`.

    The matrices of experts, one below the other, become a row each, with a column expert_id, and
    empty rows between them: each begins a row group of DuckDB, which skips those that a join has
    no use for. That is what `expert_matmul` needs.

    relation     relation (row_id, vector), with bias and what else `quantized` gives
    rows         number of rows of the matrix
    blocks       number of blocks, of each expert where there are experts
    storage      one that has blocks: float32, int8 or int4
    bias         whether there is a bias
    num_experts  how many experts the matrix has the rows of; 0 for a matrix that has none
#}
{% macro matrix_blocks(
    relation, rows, blocks, storage='float32', bias=false, num_experts=0
) -%}
    {{ return(adapter.dispatch('matrix_blocks', 'relama')(
        relation, rows, blocks, storage, bias, num_experts
    )) }}
{%- endmacro %}

{% macro duckdb__matrix_blocks(relation, rows, blocks, storage, bias, num_experts) -%}
    {%- set columns = [] -%}
    {%- set row = relama._storage(storage, 'block_row') -%}
    {%- set each = rows // num_experts if num_experts else rows -%}
    {%- set row_id = 'row_id % ' ~ each if num_experts else 'row_id' -%}
    {%- if num_experts -%}{%- do columns.append('row_id // ' ~ each ~ ' as expert_id') -%}{%- endif -%}
    {%- for block in range(blocks) -%}
        {%- set within -%}
            filter (where {{ row_id }} >= {{ each * block // blocks }} and {{ row_id }} < {{ each * (block + 1) // blocks }})
        {%- endset -%}
        {%- do columns.append(
            'list(\n        ' ~ row ~ ' order by row_id\n    ) ' ~ within ~ ' as block_' ~ block
        ) -%}
    {%- endfor -%}
    {%- for name, expression in relama._storage(storage, 'block_columns').items() -%}
        {%- do columns.append(expression ~ ' as ' ~ name) -%}
    {%- endfor -%}
    {%- if bias -%}{%- do columns.append('list(bias order by row_id) as bias') -%}{%- endif -%}
    {%- if not num_experts -%}
select
    {{ columns | join(',\n    ') }}
from {{ relation }}
    {%- else -%}
        {%- set row_group = 122880 -%}
with expert as (

    select
        {{ columns | join(',\n    ') | indent(4) }}
    from {{ relation }}
    group by row_id // {{ each }}

)

select expert.*
from range({{ num_experts * row_group }}) as place (number)
left join expert
    on place.number = expert.expert_id * {{ row_group }}
    {%- endif -%}
{%- endmacro %}
