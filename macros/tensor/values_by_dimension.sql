{#
    Turns values around: one row for each dimension of each head, its vector
    running over the positions. A select of
    (sequence_id, kv_head, dimension, vector).

    relation  relation (sequence_id, position, kv_head, value)
    head_dim  width of a head
#}
{% macro _values_by_dimension(relation, head_dim) -%}
    {{ return(adapter.dispatch('_values_by_dimension', 'relama')(relation, head_dim)) }}
{%- endmacro %}

{% macro default___values_by_dimension(relation, head_dim) -%}
select
    x.sequence_id,
    x.kv_head,
    d.dimension,
    array_agg(x.value[d.dimension + 1] order by x.position) as vector
from {{ relation }} as x
cross join {{ relama._series(head_dim, 'd', 'dimension') }}
group by x.sequence_id, x.kv_head, d.dimension
{%- endmacro %}

{# All values of a head are laid end to end once; a dimension takes every head_dim-th. #}
{% macro duckdb___values_by_dimension(relation, head_dim) -%}
select
    x.sequence_id,
    x.kv_head,
    d.dimension,
    list_transform(
        range(len(x.elements) // {{ head_dim }}),
        lambda i: x.elements[i * {{ head_dim }} + d.dimension + 1]
    ) as vector
from (
    select
        sequence_id,
        kv_head,
        flatten(vector) as elements
    from (
        {{ relama._collect_vector(
            relation, ['sequence_id', 'kv_head'], 'value', 'position'
        ) | indent(8) }}
    ) as packed
) as x
cross join {{ relama._series(head_dim, 'd', 'dimension') }}
{%- endmacro %}
