{#
    The keys and values that this step adds to the cache of a layer. A select of
    (sequence_id, position, kv_head, key, value).

    rotated       relation (sequence_id, position, vector), the key heads behind the query heads
    projected     relation (sequence_id, position, vector) that holds the values
    value_offset  where in `projected` the values begin
    num_heads     number of query heads
    num_kv_heads  number of heads that have a key and a value
    head_dim      width of a head
    single_token  see the macro of this name
#}
{% macro kv_append(
    rotated, projected, value_offset, num_heads, num_kv_heads, head_dim, single_token=false
) -%}
    {{ return(adapter.dispatch('kv_append', 'relama')(
        rotated, projected, value_offset, num_heads, num_kv_heads, head_dim, single_token
    )) }}
{%- endmacro %}

{% macro default__kv_append(
    rotated, projected, value_offset, num_heads, num_kv_heads, head_dim, single_token
) -%}
    {%- set offset = 'h.kv_head * ' ~ head_dim -%}
    {%- set value_offset = value_offset ~ ' + ' ~ offset if value_offset else offset -%}
select
    r.sequence_id,
    r.position,
    h.kv_head,
    {{ relama._as_cached(
        relama._vector_slice('r.vector', num_heads * head_dim ~ ' + ' ~ offset, head_dim)
    ) }} as key,
    {{ relama._as_cached(relama._vector_slice('v.vector', value_offset, head_dim)) }} as value
from {{ rotated }} as r
inner join {{ projected }} as v
    on {{ relama._same('r', 'v', ['sequence_id', 'position'], single_token) }}
cross join {{ relama._series(num_kv_heads, 'h', 'kv_head') }}
{%- endmacro %}

{% macro clickhouse__kv_append(
    rotated, projected, value_offset, num_heads, num_kv_heads, head_dim, single_token
) -%}
    {%- set offset = 'kv_head * ' ~ head_dim -%}
select
    r.sequence_id as sequence_id,
    r.position as position,
    toInt32(kv_head) as kv_head,
    {{ relama._vector_slice('r.vector', num_heads * head_dim ~ ' + ' ~ offset, head_dim) }} as key,
    {{ relama._vector_slice('v.vector', value_offset ~ ' + ' ~ offset, head_dim) }} as value
from {{ rotated }} as r
    {%- if single_token %}
cross join {{ projected }} as v
    {%- else %}
inner join {{ projected }} as v on {{ relama._same('r', 'v', ['sequence_id', 'position']) }}
    {%- endif %}
array join range({{ num_kv_heads }}) as kv_head
{%- endmacro %}
