-- y = a . b
with vectors as (

    select * from {{ ref('example_vectors') }}

)

select
    id,
    {{ relama._inner_product('a', 'b') }} as y
from vectors
