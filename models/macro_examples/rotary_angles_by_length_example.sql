-- angle = position * inverse_frequency, of a long sequence with the second row of frequencies
with tokens as (

    select * from {{ ref('example_tokens') }}

),

inverse_frequencies as (

    select * from {{ ref('example_inverse_frequencies') }}

),

angles as (

    {{ relama.rotary_angles(
        'tokens', 'inverse_frequencies', attention_factor=2, long_factors=true
    ) | indent(4) }}

)

select
    sequence_id,
    position,
    {{ relama._rounded_vector('cosine') }} as cosine,
    {{ relama._rounded_vector('sine') }} as sine
from angles
