-- vector[row_id] = y
with elements as (

    select * from {{ ref('example_elements') }}

),

collected as (

    {{ relama._collect_vector('elements', ['sequence_id', 'position'], 'y', 'row_id') | indent(4) }}

)

select * from collected
