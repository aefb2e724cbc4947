-- A number as a 32-bit float.
with elements as (

    select * from {{ ref('example_elements') }}

)

select
    row_id,
    {{ relama._real('y') }} as y
from elements
