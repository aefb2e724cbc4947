-- y = x * cos(angle) + rotate_half(x) * sin(angle), one query head and one key head
with queries as (

    select * from {{ ref('example_hidden') }}

),

keys as (

    select * from {{ ref('example_residual') }}

),

angles as (

    select * from {{ ref('example_angles') }}

),

rotated as (

    {{ relama.rotary_embedding([('queries', 1), ('keys', 1)], 'angles', head_dim=4) | indent(4) }}

)

select
    sequence_id,
    position,
    {{ relama._rounded_vector('vector') }} as vector
from rotated
