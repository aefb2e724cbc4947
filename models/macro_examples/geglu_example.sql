-- y = gelu(gate) * up, two gates in front of two ups
with gate_up as (

    select * from {{ ref('example_hidden') }}

),

activated as (

    {{ relama.geglu('gate_up', none, size=2) | indent(4) }}

)

select
    sequence_id,
    position,
    {{ relama._rounded_vector('vector') }} as vector
from activated
