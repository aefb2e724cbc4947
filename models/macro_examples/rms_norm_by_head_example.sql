-- y = x / sqrt(mean(x^2) + eps) * weight, head by head
with hidden as (

    select * from {{ ref('example_hidden') }}

),

normed as (

    {{ relama.rms_norm('hidden', ref('example_norm_weight'), eps=6, head_dim=4) | indent(4) }}

)

select
    sequence_id,
    position,
    {{ relama._rounded_vector('vector') }} as vector
from normed
