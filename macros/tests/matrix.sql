{#
    A weight table has `rows` rows, numbered from 0, each a vector of `columns`
    finite numbers. With `blocks`, the table is one row of so many blocks, or one for each expert.

    model        relation of a weight
    rows         number of rows of the matrix
    columns      number of elements of a row
    blocks       number of blocks; 0 for a table of rows
    storage      float32, int8, int4 or int567
    num_experts  see `matrix_blocks`
#}
{% test matrix(model, rows, columns, blocks=0, storage='float32', num_experts=0) %}
{%- set model = model if model is string else model.render() -%}
with matrix as (

    select
        m.row_id,
        {{ relama._dequantized('m', storage, columns) | indent(8) }} as vector
    from {% if blocks -%}
    (
        {{ relama.matrix_rows(model, rows, blocks, storage, num_experts) | indent(8) }}
    ) as m
    {%- else -%}
    {{ model }} as m
    {%- endif %}

),

rows_of_weight as (

    select
        row_id,
        {{ relama._is_finite_vector('vector', columns) | indent(8) }} as is_finite
    from matrix

),

checked as (

    select
        row_id,
        case
            when row_id is null or row_id < 0 or row_id >= {{ rows }}
                then 'row_id out of range'
            when not is_finite
                then 'not {{ columns }} finite numbers'
        end as problem
    from rows_of_weight

),

counted as (

    select count(distinct row_id) as row_count
    from matrix

)

select
    row_id,
    problem
from checked
where problem is not null

union all

select
    row_count as row_id,
    'row count is not {{ rows }}' as problem
from counted
where row_count <> {{ rows }}
{% endtest %}
