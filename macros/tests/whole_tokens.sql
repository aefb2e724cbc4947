{#
    The cache of a layer holds every token that has been read, once a head, and
    no other: positions 0 to the last one that a step has predicted.
#}
{% test whole_tokens(model, tokens) %}
with predicted as (

    select
        sequence_id,
        max(position) as token_count
    from {{ tokens }}
    where logprob is not null
    group by sequence_id

),

heads as (

    select count(distinct kv_head) as head_count
    from {{ model }}

),

cached as (

    select
        sequence_id,
        count(*) as row_count,
        count(distinct position) as token_count,
        max(position) as last_position
    from {{ model }}
    group by sequence_id

)

select
    p.sequence_id,
    p.token_count,
    c.row_count
from predicted as p
cross join heads as h
full outer join cached as c on p.sequence_id = c.sequence_id
where
    c.sequence_id is null
    or p.sequence_id is null
    or c.token_count <> p.token_count
    or c.row_count <> p.token_count * h.head_count
    or c.last_position <> p.token_count - 1
{% endtest %}
