-- exp(-y)
with elements as (

    select * from {{ ref('example_elements') }}

)

select
    row_id,
    round({{ relama.exponential('-y') }}, 4) as exponential
from elements
