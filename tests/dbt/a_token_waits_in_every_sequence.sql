{{ config(enabled=project_name == 'relama') }}

-- Nothing is read before it is there, and the first token that has not been read says so
-- itself: whoever deletes tokens behind it does not change how many have been read.
with tokens as (

    select * from {{ ref('tokens') }}

),

sequences as (

    select * from {{ ref('sequences') }}

)

select
    sequences.*,
    tokens.has_read as has_read_before
from sequences
left join tokens
    on
        sequences.sequence_id = tokens.sequence_id
        and sequences.has_read = tokens.position
where tokens.has_read is null or tokens.has_read <> sequences.has_read
