{#
    A linear layer of each expert of a mixture. The matrices of all experts stand one below the
    other in one weight; only those of chosen experts are read and multiplied:

        y[expert][row] = sum over i of weight[expert][row][i] * x[i]

    A select of (sequence_id, position, expert_id, vector), a row for each chosen expert.

    hidden       relation (sequence_id, position, vector)
    router       relation (sequence_id, position, expert_id) of the chosen experts, or none where
                 `hidden` has a row for each of them, with its expert_id
    weight       relation of rows, see `matmul`; or of one row, see `matrix_blocks`
    num_experts  how many experts there are
    rows         rows of the matrix of one expert
    blocks       number of blocks, a multiple of num_experts; 0 for a weight of rows
    storage      how the weight is stored
#}
{% macro expert_matmul(hidden, router, weight, num_experts, rows, blocks=0, storage='float32') -%}
    {{ return(adapter.dispatch('expert_matmul', 'relama')(
        hidden, router, weight, num_experts, rows, blocks, storage
    )) }}
{%- endmacro %}

{# A range of the rows of a weight makes a vector. #}
{% macro default__expert_matmul(hidden, router, weight, num_experts, rows, blocks, storage) -%}
with x as materialized (

    {{ relama._expert_input(hidden, router, storage) | indent(4) }}

)

select
    x.sequence_id,
    x.position,
    x.expert_id,
    array(
        select {{ relama._narrowed(relama._storage(storage, 'row_product')('w', 'x')) }}
        from {{ weight }} as w
        where w.row_id >= x.expert_id * {{ rows }} and w.row_id < (x.expert_id + 1) * {{ rows }}
        order by w.row_id
    ) as vector
from x
{%- endmacro %}

{% macro duckdb__expert_matmul(hidden, router, weight, num_experts, rows, blocks, storage) -%}
    {%- set input = relama._expert_input(hidden, router, storage) -%}
    {%- if not blocks -%}
        {%- set products -%}
(
    select
        w.row_id,
        x.sequence_id,
        x.position,
        x.expert_id,
        {{ relama._storage(storage, 'row_product')('w', 'x', native=relama._native()) }} as y
    from {{ weight }} as w
    inner join x on w.row_id // {{ rows }} = x.expert_id
)
        {%- endset -%}
with x as (

    {{ input | indent(4) }}

)

{{ relama._collect_vector(products, ['sequence_id', 'position', 'expert_id'], 'y', 'row_id') }}
    {%- else -%}
{{ relama._expert_matmul_by_blocks(input, weight, num_experts, blocks, storage) }}
    {%- endif -%}
{%- endmacro %}

{#
    Each expert multiplies the rows that are sent to it. DuckDB looks at these first, and does not
    read the blocks of an expert that there are none for.
#}
{% macro _expert_matmul_by_blocks(input, weight, num_experts, blocks, storage) -%}
    {%- set native = relama._native() -%}
    {%- set each = blocks // num_experts -%}
    {%- if not native -%}
        {%- set input = relama._storage(storage, 'block_input')(input) -%}
    {%- endif -%}
with x as materialized (

    {{ input | indent(4) }}

)
{%- for expert in range(num_experts) -%}
    {%- set own = [] -%}
    {%- for block in range(expert * each, (expert + 1) * each) -%}
        {%- do own.append('w.block_' ~ block) -%}
    {%- endfor -%}
    {%- if native -%}
        {%- set products = relama._native_products(own | join(', '), 'x') -%}
    {%- else -%}
        {%- set lists = [] -%}
        {%- for block in own -%}
            {%- do lists.append(relama._storage(storage, 'block_products')(block, 'x')) -%}
        {%- endfor -%}
        {%- set products = lists | join('\n|| ') -%}
    {%- endif %}
{% if expert %}
union all
{% endif %}
select
    x.sequence_id,
    x.position,
    x.expert_id,
    {{ products | indent(4) }} as vector
from {{ weight }} as w
cross join (select * from x where expert_id = {{ expert }}) as x
{%- endfor -%}
{%- endmacro %}

{% macro clickhouse__expert_matmul(hidden, router, weight, num_experts, rows, blocks, storage) -%}
with x as (

    {{ relama._expert_input(hidden, router, storage) | indent(4) }}

)

select
    x.sequence_id as sequence_id,
    x.position as position,
    x.expert_id as expert_id,
    groupArrayInsertAt(
        toFloat32({{ relama._storage(storage, 'row_product')('w', 'x') }}),
        toUInt32(w.row_id % {{ rows }})
    ) as vector
from {{ weight }} as w
inner join x
    on intDiv(w.row_id, {{ rows }}) = x.expert_id
group by x.sequence_id, x.position, x.expert_id
{%- endmacro %}

{# What is multiplied, a row for each chosen expert. #}
{% macro _expert_input(hidden, router, storage) -%}
select
    h.sequence_id as sequence_id,
    h.position as position,
    {{ 'h' if router is none else 'r' }}.expert_id as expert_id,
    {{ relama._row_input('h.vector', storage) }} as vector
from {{ hidden }} as h
{%- if router is not none %}
inner join {{ router }} as r
    on {{ relama._same('h', 'r', ['sequence_id', 'position']) }}
{%- endif %}
{%- endmacro %}
