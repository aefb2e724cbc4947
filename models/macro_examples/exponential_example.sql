-- exp(-y)
with elements as (

    select * from {{ ref('example_elements') }}

)

select
    row_id,
    round({{ relama._exponential('-y') }}, 4) as exponential
from elements
