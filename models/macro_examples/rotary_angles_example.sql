-- angle = position * inverse_frequency
with tokens as (

    select * from {{ ref('example_tokens') }}

),

inverse_frequencies as (

    select * from {{ ref('example_inverse_frequencies') }}

),

angles as (

    {{ relama.rotary_angles('tokens', 'inverse_frequencies') | indent(4) }}

)

select
    position,
    {{ relama._rounded_vector('cosine') }} as cosine,
    {{ relama._rounded_vector('sine') }} as sine
from angles
