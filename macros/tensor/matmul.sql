{#
    A linear layer: every row of the weight times the hidden state.

        y[row] = sum over i of weight[row][i] * x[i]  (+ bias[row])  (+ residual[row])

    A select of (sequence_id, position, vector).

    hidden    relation (sequence_id, position, vector)
    weight    relation (row_id, vector), with a column bias where `bias` is true
    rows      number of rows of the weight
    bias      whether the weight has a bias
    residual  relation (sequence_id, position, vector) to be added, or none
#}
{% macro matmul(hidden, weight, rows, bias=false, residual=none) -%}
    {{ return(adapter.dispatch('matmul', 'relama')(hidden, weight, rows, bias, residual)) }}
{%- endmacro %}

{% macro default__matmul(hidden, weight, rows, bias, residual) -%}
    {%- set products = relama.matmul_rows(hidden, weight, bias, residual) -%}
    {{- relama.collect_vector(
        '(\n' ~ products ~ '\n)', ['sequence_id', 'position'], 'y', 'row_id'
    ) -}}
{%- endmacro %}

{#
    A scan is divided among threads by row group, of 2,048 rows at least. A
    matrix of few rows is therefore read as two halves, which run at once.
#}
{% macro duckdb__matmul(hidden, weight, rows, bias, residual) -%}
    {%- if rows < 64 or rows > 4 * 2048 -%}
        {{- relama.default__matmul(hidden, weight, rows, bias, residual) -}}
    {%- else -%}
        {%- set half = rows // 2 -%}
        {%- set lower = '(select * from ' ~ weight ~ ' where row_id < ' ~ half ~ ')' -%}
        {%- set upper = '(select * from ' ~ weight ~ ' where row_id >= ' ~ half ~ ')' -%}
        {%- set products -%}
(
{{ relama.matmul_rows(hidden, lower, bias, residual) }}
union all
{{ relama.matmul_rows(hidden, upper, bias, residual) }}
)
        {%- endset -%}
        {{- relama.collect_vector(products, ['sequence_id', 'position'], 'y', 'row_id') -}}
    {%- endif -%}
{%- endmacro %}

{#
    The products of a matmul one row each: (row_id, sequence_id, position, y).
    The weight stands on the left of the join: it is streamed past the few rows
    of the hidden state, never copied.
#}
{% macro matmul_rows(hidden, weight, bias, residual) -%}
    {%- set x = hidden -%}
    {%- if residual is not none -%}
        {%- set x -%}
    (
        select
            h.sequence_id,
            h.position,
            h.vector,
            r.vector as residual
        from {{ hidden }} as h
        inner join {{ residual }} as r
            on h.sequence_id = r.sequence_id and h.position = r.position
    )
        {%- endset -%}
    {%- endif %}
    select
        w.row_id,
        x.sequence_id,
        x.position,
        {{ relama.inner_product('w.vector', 'x.vector') }}
        {%- if bias %} + w.bias{% endif %}
        {%- if residual is not none %} + x.residual[w.row_id + 1]{% endif %} as y
    from {{ weight }} as w
    cross join {{ x }} as x
{%- endmacro %}
