{{ config(enabled=project_name == 'relama') }}

-- The positions of a sequence are 0, 1, 2, ... without a gap or a double.
select
    sequence_id,
    count(*) as tokens,
    count(distinct position) as positions,
    min(position) as first_position,
    max(position) as last_position
from {{ ref('tokens') }}
group by sequence_id
having
    count(*) <> max(position) + 1
    or count(distinct position) <> count(*)
    or min(position) <> 0
