{#
    Cuts vectors into heads: (sequence_id, position, head, vector), the heads
    numbered through from the first input to the last. A select.

    inputs    list of (relation, number of heads)
    head_dim  width of a head
#}
{% macro split_heads(inputs, head_dim) -%}
    {%- set ns = namespace(first=0) -%}
    {%- for relation, heads in inputs -%}
        {%- if not loop.first %}

union all

{% endif -%}
select
    x.sequence_id,
    x.position,
    {% if ns.first %}{{ ns.first }} + h.head as head{% else %}h.head{% endif %},
    {{ relama._vector_slice('x.vector', 'h.head * ' ~ head_dim, head_dim) }} as vector
from {{ relation }} as x
cross join {{ relama._series(heads, 'h', 'head') }}
        {%- set ns.first = ns.first + heads -%}
    {%- endfor -%}
{%- endmacro %}
