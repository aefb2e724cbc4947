-- y = x * cos(angle) + rotate_half(x) * sin(angle), two query heads and one key head, each a row
with queries as (

    select * from {{ ref('example_heads') }}

),

keys as (

    select * from {{ ref('example_attention_weights') }}

),

angles as (

    select * from {{ ref('example_angles') }}

),

rotated as (

    {{ relama.rotary_embedding([('queries', 2), ('keys', 1)], 'angles', 4, by_head=true) | indent(4) }}

)

select
    sequence_id,
    position,
    head,
    {{ relama._rounded_vector('vector') }} as vector
from rotated
