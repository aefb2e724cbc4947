{#
    A linear layer of each expert of a mixture. The matrices of all experts stand one below the
    other in one weight; only those of chosen experts are read and multiplied:

        y[expert][row] = sum over i of weight[expert][row][i] * x[i]

    A select of (sequence_id, position, expert_id, weight, vector), a row for each chosen expert,
    with the router's weight.

    hidden        relation (sequence_id, position, vector)
    router        relation (sequence_id, position, expert_id, weight) of the chosen experts, or none
                  where `hidden` has a row for each of them, with expert_id and weight
    weight        relation of rows, see `matmul`; or of a row for each expert, see `matrix_blocks`
    rows          rows of the matrix of one expert
    blocks        number of blocks of an expert; 0 for a weight of rows
    storage       how the weight is stored
    single_token  see the macro of this name
#}
{% macro expert_matmul(
    hidden, router, weight, rows, blocks=0, storage='float32', single_token=false
) -%}
    {%- set input = relama._expert_input(hidden, router, storage, single_token) -%}
    {{ return(adapter.dispatch('expert_matmul', 'relama')(
        input, weight, rows, blocks, storage
    )) }}
{%- endmacro %}

{# A range of the rows of a weight makes a vector. #}
{% macro default__expert_matmul(input, weight, rows, blocks, storage) -%}
with x as materialized (

    {{ input | indent(4) }}

)

select
    x.sequence_id,
    x.position,
    x.expert_id,
    x.weight,
    array(
        select {{ relama._narrowed(relama._storage(storage, 'row_product')('w', 'x')) }}
        from {{ weight }} as w
        where w.row_id >= x.expert_id * {{ rows }} and w.row_id < (x.expert_id + 1) * {{ rows }}
        order by w.row_id
    ) as vector
from x
{%- endmacro %}

{% macro duckdb__expert_matmul(input, weight, rows, blocks, storage) -%}
    {%- if not blocks -%}
        {%- set products -%}
(
    select
        w.row_id,
        x.sequence_id,
        x.position,
        x.expert_id,
        x.weight,
        {{ relama._storage(storage, 'row_product')('w', 'x', native=relama._native()) }} as y
    from {{ weight }} as w
    inner join x on w.row_id // {{ rows }} = x.expert_id
)
        {%- endset -%}
with x as (

    {{ input | indent(4) }}

)

{{ relama._collect_vector(products, ['sequence_id', 'position', 'expert_id', 'weight'], 'y', 'row_id') }}
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
        {%- do own.append('x.block_' ~ block) -%}
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
with sent as (

    {{ input | indent(4) }}

),

chosen as (

    select
        expert_id,
        list(sent) as inputs
    from sent
    group by expert_id

)

select
    x.sequence_id,
    x.position,
    x.expert_id,
    x.weight,
    {{ products | indent(4) }} as vector
from (
    select
        expert.* exclude (expert_id),
        unnest(chosen.inputs, max_depth := 2) as inputs
    from {{ weight }} as expert
    inner join chosen on expert.expert_id = chosen.expert_id
) as x
{%- endmacro %}

{% macro clickhouse__expert_matmul(input, weight, rows, blocks, storage) -%}
with x as (

    {{ input | indent(4) }}

)

select
    x.sequence_id as sequence_id,
    x.position as position,
    x.expert_id as expert_id,
    x.weight as weight,
    groupArrayInsertAt(
        toFloat32({{ relama._storage(storage, 'row_product')('w', 'x') }}),
        toUInt32(w.row_id % {{ rows }})
    ) as vector
from {{ weight }} as w
inner join x
    on intDiv(w.row_id, {{ rows }}) = x.expert_id
group by x.sequence_id, x.position, x.expert_id, x.weight
{%- endmacro %}

{# What is multiplied, a row for each chosen expert. #}
{% macro _expert_input(hidden, router, storage, single_token) -%}
{%- set chosen = 'h' if router is none else 'r' -%}
select
    h.sequence_id as sequence_id,
    h.position as position,
    {{ chosen }}.expert_id as expert_id,
    {{ chosen }}.weight as weight,
    {{ relama._row_input('h.vector', storage) }} as vector
from {{ hidden }} as h
{%- if router is not none %}
inner join {{ router }} as r
    on {{ relama._same('h', 'r', ['sequence_id', 'position'], single_token) }}
{%- endif %}
{%- endmacro %}
