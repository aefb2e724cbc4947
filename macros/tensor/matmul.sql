{#
    A linear layer: every row of the weight times the hidden state.

        y[row] = sum over i of weight[row][i] * x[i]  (+ bias[row])  (+ residual[row])

    A select of (sequence_id, position, vector). The weight is a table of rows;
    `block_matmul` is the same for a weight in blocks.

    hidden        relation (sequence_id, position, vector)
    weight        relation of row_id and the columns of the storage, with a column bias
                  where `bias` is true
    storage       one that has rows: float32, int8, vector or halfvec
    bias          whether the weight has a bias
    residual      relation (sequence_id, position, vector) to be added, or none
    single_token  see the macro of this name
#}
{% macro matmul(
    hidden, weight, storage='float32', bias=false, residual=none, single_token=false
) -%}
    {{ return(adapter.dispatch('matmul', 'relama')(
        hidden, weight, storage, bias, residual, single_token
    )) }}
{%- endmacro %}

{# The rows of a weight in their order make a vector; nothing is grouped. #}
{% macro default__matmul(hidden, weight, storage, bias, residual, single_token) -%}
with x as materialized (

    {{ relama._matmul_input(hidden, residual, single_token, storage) | indent(4) }}

)

select
    x.sequence_id,
    x.position,
    array(
        select {{ relama._narrowed(
            relama._storage(storage, 'row_product')('w', 'x')
            ~ (' + w.bias' if bias else '')
            ~ (' + x.residual[w.row_id + 1]' if residual is not none else '')
        ) }}
        from {{ weight }} as w
        order by w.row_id
    ) as vector
from x
{%- endmacro %}

{% macro duckdb__matmul(hidden, weight, storage, bias, residual, single_token) -%}
    {%- set products -%}
(
    select
        w.row_id,
        x.sequence_id,
        x.position,
        {{ relama._storage(storage, 'row_product')('w', 'x', native=relama._native()) }}
        {%- if bias %} + w.bias{% endif %}
        {%- if residual is not none %} + x.residual[w.row_id + 1]{% endif %} as y
    from {{ weight }} as w
    cross join x
)
    {%- endset -%}
with x as (

    {{ relama._matmul_input(hidden, residual, single_token) | indent(4) }}

)

{{ relama._collect_vector(products, ['sequence_id', 'position'], 'y', 'row_id') }}
{%- endmacro %}

{#
    A row goes where its number says, whichever thread multiplies it. A single hidden state is a
    constant, which stands beside every row without being copied.
#}
{% macro clickhouse__matmul(hidden, weight, storage, bias, residual, single_token) -%}
    {%- set product = relama._storage(storage, 'row_product')('w', 'x') ~ (' + w.bias' if bias else '') -%}
    {%- if single_token -%}
with (select (sequence_id, position, vector) from {{ hidden }}) as x

select
    x.1 as sequence_id,
    x.2 as position,
        {%- set product = product | replace('x.vector', 'x.3') %}
        {%- if residual is none %}
    groupArrayInsertAt(toFloat32({{ product }}), toUInt32(w.row_id)) as vector
        {%- else %}
    arrayMap(
        (y, r) -> toFloat32(y + r),
        groupArrayInsertAt(toFloat32({{ product }}), toUInt32(w.row_id)),
        (select vector from {{ residual }})
    ) as vector
        {%- endif %}
from {{ weight }} as w
    {%- else -%}
with products as (

    select
        x.sequence_id as sequence_id,
        x.position as position,
        groupArrayInsertAt(toFloat32({{ product }}), toUInt32(w.row_id)) as vector
    from {{ weight }} as w
    cross join {{ hidden }} as x
    group by x.sequence_id, x.position

)

        {%- if residual is none %}

select * from products
        {%- else %}

select
    p.sequence_id as sequence_id,
    p.position as position,
    arrayMap((y, r) -> toFloat32(y + r), p.vector, r.vector) as vector
from products as p
inner join {{ residual }} as r
    on {{ relama._same('p', 'r', ['sequence_id', 'position']) }}
        {%- endif -%}
    {%- endif -%}
{%- endmacro %}

{#
    The hidden state, as the rows of a storage are multiplied with it, and the residual beside it
    where there is one.
#}
{% macro _matmul_input(hidden, residual, single_token=false, storage='float32') -%}
    {%- set vector = relama._row_input('h.vector', storage) -%}
select
    h.sequence_id,
    h.position,
    {{ vector }}{% if vector != 'h.vector' %} as vector{% endif %}
    {%- if residual is not none %},
    r.vector as residual
    {%- endif %}
from {{ hidden }} as h
{%- if residual is not none %}
inner join {{ residual }} as r
    on {{ relama._same('h', 'r', ['sequence_id', 'position'], single_token) }}
{%- endif %}
{%- endmacro %}
