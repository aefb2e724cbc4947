{#
    No element of a quantised matrix is further from the checkpoint's than half a
    step of its storage, relative to the largest element of its row. In int8 a
    step is 1/127 of it.

    staged   names of the staged tensors that the matrix is made of, top to bottom
    rows     number of rows of each
    blocks   number of blocks; 0 for a table of rows
    storage  int8
#}
{% test quantization_error(model, staged, rows, blocks, storage) %}
    {%- set bound = {'int8': 0.5 / 127}[storage] %}
with matrix as (

    {% if blocks -%}
    {{ relama.matrix_rows(model, rows | sum, blocks, storage) | indent(4) }}
    {%- else -%}
    select * from {{ model }}
    {%- endif %}

),

checkpoint as (
{% for name in staged %}
    select
        row_id + {{ rows[:loop.index0] | sum }} as row_id,
        vector
    from {{ source('staged_weights', name) }}
    {%- if not loop.last %}

    union all
{% endif %}
{%- endfor %}

),

differences as (

    select
        checkpoint.row_id,
        {{ relama.largest_difference('checkpoint.vector', 'matrix.vector', 'matrix.scale') }}
            as difference,
        {{ relama.largest_difference('checkpoint.vector', 'matrix.vector', '0') }} as largest
    from checkpoint
    left join matrix on checkpoint.row_id = matrix.row_id

)

select *
from differences
where difference is null or difference > largest * {{ bound * 1.001 }}
{% endtest %}

{# The largest |a[i] - b[i] * scale|. An expression. #}
{% macro largest_difference(a, b, scale) -%}
    {{ return(adapter.dispatch('largest_difference', 'relama')(a, b, scale)) }}
{%- endmacro %}

{% macro duckdb__largest_difference(a, b, scale) -%}
    list_max(list_transform(
        {{ a }}, lambda x, i: abs(cast(x as double) - cast({{ b }}[i] as double) * {{ scale }})
    ))
{%- endmacro %}
