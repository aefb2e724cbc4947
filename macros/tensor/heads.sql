{#
    The first heads of every vector as rows: a select of
    (sequence_id, position, head, vector).

    relation  relation (sequence_id, position, vector)
    heads     how many
    head_dim  width of a head
#}
{% macro _heads(relation, heads, head_dim) -%}
select
    x.sequence_id,
    x.position,
    h.head,
    {{ relama._vector_slice('x.vector', 'h.head * ' ~ head_dim, head_dim) }} as vector
from {{ relation }} as x
cross join {{ relama._series(heads, 'h', 'head') }}
{%- endmacro %}
