{#
    The keys and values that this step adds to the cache of a layer. A select of
    (sequence_id, position, kv_head, key, value).

    rotated       relation (sequence_id, position, head, vector), query heads first
    projected     relation (sequence_id, position, vector) that holds the values
    value_offset  where in `projected` the values begin
    num_heads     number of query heads
    head_dim      width of a head
    single_token  see the macro of this name
#}
{% macro kv_append(
    rotated, projected, value_offset, num_heads, head_dim, single_token=false
) -%}
    {%- set kv_head = 'r.head - ' ~ num_heads -%}
    {%- set offset = '(' ~ kv_head ~ ') * ' ~ head_dim -%}
    {%- if value_offset -%}{%- set offset = value_offset ~ ' + ' ~ offset -%}{%- endif -%}
select
    r.sequence_id,
    r.position,
    {{ kv_head }} as kv_head,
    r.vector as key,
    {{ relama._vector_slice('v.vector', offset, head_dim) }} as value
from {{ rotated }} as r
inner join {{ projected }} as v
    on {{ relama._same('r', 'v', ['sequence_id', 'position'], single_token) }}
where r.head >= {{ num_heads }}
{%- endmacro %}
