-- y = sigmoid(gate) * x + residual
with hidden as (

    select * from {{ ref('example_hidden') }}

),

stream as (

    select * from {{ ref('example_residual') }}

),

gate as (

    select * from {{ ref('example_experts') }}

),

summed as (

    {{ relama.residual('hidden', 'stream', gate='gate') | indent(4) }}

)

select
    sequence_id,
    position,
    {{ relama._rounded_vector('vector') }} as vector
from summed
