-- y = x * cos(angle) + rotate_half(x) * sin(angle), three heads at the front of a vector
with hidden as (

    select * from {{ ref('example_hidden') }}

),

angles as (

    select * from {{ ref('example_angles') }}

),

rotated as (

    {{ relama.rotary_embedding([('hidden', 3)], 'angles', head_dim=4) | indent(4) }}

)

select
    sequence_id,
    position,
    {{ relama._rounded_vector('vector') }} as vector
from rotated
