-- y = x / sqrt(mean(x^2) + eps) * weight, head by head
with hidden as (

    select * from {{ ref('example_heads') }}

),

normed as (

    {{ relama.rms_norm('hidden', ref('example_norm_weight'), eps=6, by_head=true) | indent(4) }}

)

select
    sequence_id,
    position,
    head,
    {{ relama._rounded_vector('vector') }} as vector
from normed
