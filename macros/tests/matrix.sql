{#
    A weight table has `rows` rows, numbered from 0, each a vector of `columns`
    finite numbers.
#}
{% test matrix(model, rows, columns) %}
with checked as (

    select
        row_id,
        case
            when row_id is null or row_id < 0 or row_id >= {{ rows }}
                then 'row_id out of range'
            when not {{ relama.is_finite_vector('vector', columns) }}
                then 'not {{ columns }} finite numbers'
        end as problem
    from {{ model }}

),

counted as (

    select count(distinct row_id) as row_count
    from {{ model }}

)

select
    row_id,
    problem
from checked
where problem is not null

union all

select
    row_count,
    'row count is not {{ rows }}'
from counted
where row_count <> {{ rows }}
{% endtest %}
