{#
    A linear layer: every row of the weight times the hidden state.

        y[row] = sum over i of weight[row][i] * x[i]  (+ bias[row])  (+ residual[row])

    A select of (sequence_id, position, vector).

    hidden    relation (sequence_id, position, vector)
    weight    relation (row_id, vector), with a column bias where `bias` is true
    rows      number of rows of the weight
    columns   number of columns of the weight
    bias      whether the weight has a bias
    residual  relation (sequence_id, position, vector) to be added, or none
#}
{% macro matmul(hidden, weight, rows, columns, bias=false, residual=none) -%}
    {{ return(adapter.dispatch('matmul', 'relama')(
        hidden, weight, rows, columns, bias, residual
    )) }}
{%- endmacro %}

{% macro default__matmul(hidden, weight, rows, columns, bias, residual) -%}
with x as (

    {{ relama.matmul_input(hidden, residual) | indent(4) }}

)

{{ relama.matmul_vector(weight, bias, residual) }}
{%- endmacro %}

{#
    DuckDB divides a scan among threads by row group, of 2,048 rows at least. A
    matrix of fewer than two row groups for each thread is read as two halves,
    which run at once, unless it is so small that starting a second scan costs
    more. Each half is collected by itself: its rows then arrive in order.
#}
{% macro duckdb__matmul(hidden, weight, rows, columns, bias, residual) -%}
    {%- if rows > 4 * 2048 or rows * columns < 250000 -%}
        {{- relama.default__matmul(hidden, weight, rows, columns, bias, residual) -}}
    {%- else -%}
        {%- set half = rows // 2 -%}
        {%- set lower = '(select * from ' ~ weight ~ ' where row_id < ' ~ half ~ ')' -%}
        {%- set upper = '(select * from ' ~ weight ~ ' where row_id >= ' ~ half ~ ')' -%}
with x as (

    {{ relama.matmul_input(hidden, residual) | indent(4) }}

),

lower_half as (

    {{ relama.matmul_vector(lower, bias, residual) | indent(4) }}

),

upper_half as (

    {{ relama.matmul_vector(upper, bias, residual) | indent(4) }}

)

select
    l.sequence_id,
    l.position,
    l.vector || u.vector as vector
from lower_half as l
inner join upper_half as u
    on l.sequence_id = u.sequence_id and l.position = u.position
    {%- endif -%}
{%- endmacro %}

{# The hidden state, with the residual beside it where there is one. #}
{% macro matmul_input(hidden, residual) -%}
select
    h.sequence_id,
    h.position,
    h.vector
    {%- if residual is not none %},
    r.vector as residual
    {%- endif %}
from {{ hidden }} as h
{%- if residual is not none %}
inner join {{ residual }} as r
    on h.sequence_id = r.sequence_id and h.position = r.position
{%- endif %}
{%- endmacro %}

{#
    The product of the weight and the relation `x`. The weight stands on the left
    of the join: it is streamed past the few rows of the hidden state, never copied.
#}
{% macro matmul_vector(weight, bias, residual) -%}
    {%- set products -%}
(
    select
        w.row_id,
        x.sequence_id,
        x.position,
        {{ relama.inner_product('w.vector', 'x.vector') }}
        {%- if bias %} + w.bias{% endif %}
        {%- if residual is not none %} + x.residual[w.row_id + 1]{% endif %} as y
    from {{ weight }} as w
    cross join x
)
    {%- endset -%}
    {{- relama.collect_vector(products, ['sequence_id', 'position'], 'y', 'row_id') -}}
{%- endmacro %}
