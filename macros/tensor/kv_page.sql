{#
    Packs keys and values into pages: a select of (sequence_id, kv_head,
    first_position, keys, dimensions), one row for each combination of the keys
    of the grouping. `keys` holds one key a position; `dimensions` holds the values
    turned around, one list for each dimension of the head that runs over the
    positions, so that weighing the values is an inner product.

    relation   relation (sequence_id, position, kv_head, key, value); the positions
               of a page have no gaps
    head_dim   width of a head
    page_size  positions of a page; none packs all of a sequence into one
#}
{% macro kv_page(relation, head_dim, page_size=none) -%}
    {{ return(adapter.dispatch('kv_page', 'relama')(relation, head_dim, page_size)) }}
{%- endmacro %}

{# All values are laid end to end once; a dimension takes every head_dim-th. #}
{% macro duckdb__kv_page(relation, head_dim, page_size) -%}
select
    sequence_id,
    kv_head,
    first_position,
    keys,
    list_transform(range({{ head_dim }}), lambda dimension: list_transform(
        range(len(keys)), lambda i: elements[i * {{ head_dim }} + dimension + 1]
    )) as dimensions
from (
    select
        sequence_id,
        kv_head,
        first_position,
        list_select(keys, places) as keys,
        flatten(list_select(vals, places)) as elements
    from (
        select
            sequence_id,
            kv_head,
            min(position) as first_position,
            list_grade_up(list(position)) as places,
            list(key) as keys,
            list(value) as vals
        from {{ relation | indent(8) }}
        group by sequence_id, kv_head{% if page_size %}, position // {{ page_size }}{% endif %}
        {%- if page_size %}
        having count(*) = {{ page_size }}
        {%- endif %}
    ) as collected
) as packed
{%- endmacro %}
