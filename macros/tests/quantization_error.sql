{#
    No element of a quantised matrix is further from the checkpoint's than half a
    step of its storage, relative to the largest element of its row (`error_bound`).

    model        relation of a weight
    staged       names of the staged tensors that the matrix is made of, top to bottom
    rows         number of rows of each
    blocks       number of blocks; 0 for a table of rows
    storage      int8, int4 or int567
    num_experts  see `matrix_blocks`
#}
{% test quantization_error(model, staged, rows, blocks, storage, num_experts=0) %}
{%- set model = model if model is string else model.render() -%}
with matrix as (

    {% if blocks -%}
    {{ relama.matrix_rows(model, rows | sum, blocks, storage, num_experts) | indent(4) }}
    {%- else -%}
    select * from {{ model }}
    {%- endif %}

),

dequantized as (

    select
        m.row_id,
        {{ relama._dequantized('m', storage) | indent(8) }} as vector
    from matrix as m

),

checkpoint as (
{% for name in staged %}
    select
        row_id + {{ rows[:loop.index0] | sum }} as row_id,
        vector
    from {{ relama.staged(source('staged_weights', name)) }}
    {%- if not loop.last %}

    union all
{% endif %}
{%- endfor %}

),

differences as (

    select
        checkpoint.row_id,
        {{ relama._largest_difference('checkpoint.vector', 'dequantized.vector') }} as difference,
        {{ relama._largest_difference('checkpoint.vector', 'null') }} as largest
    from checkpoint
    left join dequantized on checkpoint.row_id = dequantized.row_id

)

select *
from differences
where
    difference is null
    or difference > largest * 1.001 * {{ relama._storage(storage, 'error_bound')(rows | sum) }}
{% endtest %}

{# The largest |a[i] - b[i]|, or |a[i]| without b. An expression. #}
{% macro _largest_difference(a, b) -%}
    {{ return(adapter.dispatch('_largest_difference', 'relama')(a, b)) }}
{%- endmacro %}

{% macro default___largest_difference(a, b) -%}
    {%- if b == 'null' -%}
    (select max(abs(e.x)) from unnest({{ a }}) as e (x))
    {%- else -%}
    (select max(abs(cast(e.x as double precision) - e.y)) from unnest({{ a }}, {{ b }}) as e (x, y))
    {%- endif -%}
{%- endmacro %}

{% macro duckdb___largest_difference(a, b) -%}
    list_max(list_transform({{ a }}, lambda x{% if b != 'null' %}, i{% endif %}: abs(x{% if b != 'null' %} - {{ b }}[i]{% endif %})))
{%- endmacro %}

{% macro clickhouse___largest_difference(a, b) -%}
    {%- if b == 'null' -%}
    arrayMax(x -> abs(x), {{ a }})
    {%- else -%}
    if(
        length({{ a }}) = length({{ b }}),
        toNullable(arrayMax(arrayMap((x, y) -> abs(toFloat64(x) - y), {{ a }}, {{ b }}))),
        null
    )
    {%- endif -%}
{%- endmacro %}
