{#
    Keys of heads that have a part in common, in the order of rotary embedding, which turns
    pairs i and i + head_dim / 2 (DeepSeek-V2, arXiv 2405.04434, section 2.1.3):

        y[head] = [shared_1, own_1[head], shared_2, own_2[head]],

    where 1 and 2 are the first and the second half. A select of (sequence_id, position, vector):
    the heads side by side.

    own           relation (sequence_id, position, vector), the own parts of all heads at its front
    shared        relation (sequence_id, position, vector): what they share
    num_heads     number of heads
    head_dim      width of a head, both parts together
    shared_dim    width of what they share
    single_token  see the macro of this name
#}
{% macro shared_key(own, shared, num_heads, head_dim, shared_dim, single_token=false) -%}
    {%- set half, width = shared_dim // 2, head_dim - shared_dim -%}
    {%- set parts = [
        relama._vector_slice('s.vector', 0, half),
        relama._vector_slice('o.vector', 'head * ' ~ width, width // 2),
        relama._vector_slice('s.vector', half, half),
        relama._vector_slice('o.vector', 'head * ' ~ width ~ ' + ' ~ width // 2, width // 2),
    ] -%}
    {%- set heads = adapter.dispatch('_shared_heads', 'relama')(parts, num_heads) -%}
select
    o.sequence_id as sequence_id,
    o.position as position,
    {{ heads | trim | indent(4) }} as vector
from {{ own }} as o
inner join {{ shared }} as s
    on {{ relama._same('o', 's', ['sequence_id', 'position'], single_token) }}
{%- endmacro %}

{# The parts of every head, one head behind the other. An expression. #}
{% macro default___shared_heads(parts, num_heads) -%}
array(
    select e.value
    from generate_series(0, {{ num_heads - 1 }}) as g (head)
    cross join lateral unnest(
        {{ parts | join('\n        || ') }}
    ) with ordinality as e (value, i)
    order by g.head, e.i
)
{%- endmacro %}

{% macro duckdb___shared_heads(parts, num_heads) -%}
flatten(list_transform(
    range({{ num_heads }}),
    lambda head: {{ parts | join('\n    || ') }}
))
{%- endmacro %}

{% macro clickhouse___shared_heads(parts, num_heads) -%}
arrayFlatten(arrayMap(
    head -> arrayConcat(
        {{ parts | join(',\n        ') }}
    ),
    range({{ num_heads }})
))
{%- endmacro %}
