-- y = x * cos(angle) + rotate_half(x) * sin(angle), by the angles of each sequence
with hidden as (

    select * from {{ ref('example_hidden') }}

),

angles as (

    select * from {{ ref('example_angles') }}

),

rotated as (

    {{ relama.rotary_embedding(
        [('hidden', 1)], 'angles', head_dim=4, by_sequence=true
    ) | indent(4) }}

)

select
    sequence_id,
    position,
    {{ relama._rounded_vector('vector') }} as vector
from rotated
