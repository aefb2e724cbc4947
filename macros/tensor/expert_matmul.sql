{#
    A linear layer of each expert of a mixture. The matrices of all experts stand one below the
    other in one weight; only those of chosen experts are read and multiplied:

        y[expert][row] = sum over i of weight[expert][row][i] * x[i]

    A select of (sequence_id, position, expert_id, vector), a row for each chosen expert.

    hidden       relation (sequence_id, position, vector)
    router       relation (sequence_id, position, expert_id) of the chosen experts, or none where
                 `hidden` has a row for each of them, with its expert_id
    weight       relation of rows, see `matmul`; or of a row for each expert, see `matrix_blocks`
    num_experts  how many experts there are
    rows         rows of the matrix of one expert
    blocks       number of blocks of an expert; 0 for a weight of rows
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
{{ relama._expert_matmul_by_blocks(input, weight, blocks, storage) }}
    {%- endif -%}
{%- endmacro %}

{#
    The inputs of each chosen expert as a list, so that an expert's row is joined once, and its
    blocks stand beside one input after the other without being copied. DuckDB looks at which
    experts are chosen before it reads, and skips the row groups of others.
#}
{% macro _expert_matmul_by_blocks(input, weight, blocks, storage) -%}
    {%- set own = [] -%}
    {%- for block in range(blocks) -%}
        {%- do own.append('w.block_' ~ block) -%}
    {%- endfor -%}
    {%- if relama._native() -%}
        {%- set products = relama._native_products(own | join(', '), 'x') -%}
    {%- else -%}
        {%- set input = relama._storage(storage, 'block_input')(input) -%}
        {%- set lists = [] -%}
        {%- for block in own -%}
            {%- do lists.append(relama._storage(storage, 'block_products')(block, 'x')) -%}
        {%- endfor -%}
        {%- set products = lists | join('\n|| ') -%}
    {%- endif -%}
with x as (

    {{ input | indent(4) }}

),

chosen as (

    select
        expert_id,
        list(x) as inputs
    from x
    group by expert_id

)

select
    x.sequence_id,
    x.position,
    x.expert_id,
    {{ products | indent(4) }} as vector
from (
    select
        weight.*,
        unnest(chosen.inputs) as x
    from {{ weight }} as weight
    inner join chosen on weight.expert_id = chosen.expert_id
) as w
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
