-- y = x * multiplier + residual
with hidden as (

    select * from {{ ref('example_hidden') }}

),

stream as (

    select * from {{ ref('example_residual') }}

),

summed as (

    {{ relama.residual('hidden', 'stream', multiplier=0.5) | indent(4) }}

)

select
    sequence_id,
    position,
    {{ relama._rounded_vector('vector') }} as vector
from summed
