-- The first 48 bits of md5(seed:sequence_id:position), as a fraction.
with tokens as (

    select * from {{ ref('example_tokens') }}

),

drawn as (

    select
        sequence_id,
        position,
        {{ relama._uniform(0, 'sequence_id', 'position') | indent(8) }} as u
    from tokens

)

select
    sequence_id,
    position,
    round(u, 6) as u
from drawn
