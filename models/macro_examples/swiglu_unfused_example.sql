-- y = gate * sigmoid(gate) * up
with gate as (

    select * from {{ ref('example_hidden') }}

),

up as (

    select * from {{ ref('example_residual') }}

),

activated as (

    {{ relama.swiglu('gate', 'up', size=4) | indent(4) }}

)

select
    sequence_id,
    position,
    {{ relama._rounded_vector('vector') }} as vector
from activated
