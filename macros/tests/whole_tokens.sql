{#
    The cache of a layer holds every token that has been read, once a head, and no other:
    positions 0 to has_read - 1 of each sequence. Where the layer has a window, the first may be
    missing, but none that the next position sees.

    model         relation (sequence_id, position, kv_head)
    sequences     relation (sequence_id, has_read)
    num_kv_heads  heads of the layer
    num_hidden_layers  layers that the cache is of, each with a number in its column `layer`;
                       none for a cache of one layer
    sliding_window  how many positions the layer attends to; none for all
#}
{% test whole_tokens(
    model, sequences, num_kv_heads, num_hidden_layers=none, sliding_window=none
) %}
with expected as (

    select
        s.sequence_id,
        s.has_read as token_count{{ ',\n        l.layer' if num_hidden_layers }}
    from {{ sequences }} as s
    {%- if num_hidden_layers %}
    cross join {{ relama._series(num_hidden_layers, 'l', 'layer') }}
    {%- endif %}
    where s.has_read > 0

),

cached as (

    select
        sequence_id,
        {%- if num_hidden_layers %}
        layer,
        {%- endif %}
        count(*) as row_count,
        count(distinct position) as token_count,
        count(distinct kv_head) as head_count,
        min(position) as first_position,
        max(position) as last_position,
        max(kv_head) as last_head
    from {{ model }}
    group by sequence_id{{ ', layer' if num_hidden_layers }}

)

select
    e.sequence_id,
    e.token_count,
    c.row_count,
    c.head_count
from expected as e
full outer join cached as c
    on e.sequence_id = c.sequence_id{{ ' and e.layer = c.layer' if num_hidden_layers }}
where
    c.sequence_id is null
    or e.sequence_id is null
    {%- if sliding_window is none %}
    or c.first_position <> 0
    {%- else %}
    or c.first_position > greatest(e.token_count + 1 - {{ sliding_window }}, 0)
    {%- endif %}
    or c.token_count <> e.token_count - c.first_position
    or c.last_position <> e.token_count - 1
    or c.head_count <> {{ num_kv_heads }}
    or c.last_head <> {{ num_kv_heads - 1 }}
    or c.row_count <> c.token_count * {{ num_kv_heads }}
{% endtest %}
