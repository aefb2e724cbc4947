-- Two elements after the first `id`.
with vectors as (

    select * from {{ ref('example_vectors') }}

)

select
    id,
    {{ relama._vector_slice('a', 'id', 2) }} as slice
from vectors
