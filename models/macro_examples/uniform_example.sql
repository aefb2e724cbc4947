-- The first 48 bits of md5(seed:sequence_id:position), as a fraction.
with tokens as (

    select * from {{ ref('example_tokens') }}

)

select
    sequence_id,
    position,
    round({{ relama.uniform(0, 'sequence_id', 'position') }}, 6) as u
from tokens
