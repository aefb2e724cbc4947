{#
    Lays a matrix out for `block_matmul`: a select of one row with the columns
    block_0, block_1, ..., each a list of rows of the matrix from top to bottom,
    and bias, a list of one number a row.

    In storage int8 a row is a struct: vector TINYINT[], and scale, the number that
    it is to be multiplied by; norm is the length of the longest row of codes. In
    storage int4 the struct holds what `quantize_int4` gives, the small columns before
    the large one: DuckDB fills its blocks in that order.

    relation  relation (row_id, vector), with bias and scale where there are any
    rows      number of rows of the matrix
    blocks    number of blocks
    storage   float32, int8 or int4
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
            filter (where row_id >= {{ rows * block // blocks }} and row_id < {{ rows * (block + 1) // blocks }})
        {%- endset -%}
        {%- set row = {
            'float32': 'vector',
            'int8': '{vector: vector, scale: scale}',
            'int4': '{scale: scale, steps: steps, vector: vector}',
        }[storage] -%}
        {%- do columns.append(
            'list(\n        ' ~ row ~ ' order by row_id\n    ) ' ~ within ~ ' as block_' ~ block
        ) -%}
    {%- endfor -%}
    {%- if storage == 'int8' -%}
        {%- do columns.append(
            'max(sqrt(' ~ relama.inner_product('cast(vector as double[])', 'cast(vector as double[])')
            ~ ')) as norm'
        ) -%}
    {%- endif -%}
    {%- if bias -%}{%- do columns.append('list(bias order by row_id) as bias') -%}{%- endif -%}
select
    {{ columns | join(',\n    ') }}
from {{ relation }}
{%- endmacro %}
