{#
    The attention of a step that reads one token of one sequence, see `attention`: it
    comes after everything cached, so no score is masked. DuckDB only.

    A select of (sequence_id, position, vector). What is added is added in order of
    the positions, so that equal steps give equal bits.
#}
{% macro attention_decode(
    rotated, cache, appended, pages, paged, num_heads, num_kv_heads, head_dim
) -%}
    {%- set scale = relama.real(1 / head_dim ** 0.5) -%}
    {%- set place = '(i // ' ~ head_dim ~ ') * page_count + p' -%}
with recent as (

    select
        c.kv_head,
        c.position,
        c.key,
        c.value
    from {{ cache }} as c
    inner join {{ paged }} as p on c.position >= p.position

    union all

    select
        kv_head,
        position,
        key,
        value
    from {{ appended }}

),

collected as (

    select
        kv_head,
        min(position) as first_position,
        list_grade_up(list(position)) as places,
        list(key) as keys,
        list(value) as vals
    from recent
    group by kv_head

),

sorted as (

    select
        kv_head,
        first_position,
        list_select(keys, places) as keys,
        flatten(list_select(vals, places)) as elements
    from collected

),

page as (

    select
        kv_head,
        first_position,
        keys,
        dimensions
    from {{ pages }}

    union all

    select
        kv_head,
        first_position,
        keys,
        list_transform(range({{ head_dim }}), lambda dimension: list_transform(
            range(len(keys)), lambda i: elements[i * {{ head_dim }} + dimension + 1]
        )) as dimensions
    from sorted

),

scored as (

    select
        q.sequence_id,
        q.position,
        q.head,
        k.first_position,
        k.dimensions,
        list_transform(
            k.keys,
            lambda key: {{ relama.inner_product('key', 'q.vector') }} * {{ scale }}
        ) as scores
    from page as k
    inner join {{ rotated }} as q on k.kv_head - q.head // {{ num_heads // num_kv_heads }} = 0
    where q.head < {{ num_heads }}

),

measured as (

    select
        *,
        list_max(scores) as largest
    from scored

),

weighed as (

    select
        *,
        list_transform(
            scores, lambda score: cast(exp(score - largest) as real)
        ) as exponentials
    from measured

),

shares as (

    select
        sequence_id,
        position,
        head,
        first_position,
        largest,
        list_sum(exponentials) as total,
        list_transform(
            dimensions,
            lambda dimension: {{ relama.inner_product('dimension', 'exponentials') }}
        ) as vector
    from weighed

),

gathered as (

    select
        min(sequence_id) as sequence_id,
        min(position) as position,
        count(*) // {{ num_heads }} as page_count,
        list_grade_up(list(cast(head as bigint) * 4294967296 + first_position)) as places,
        list(largest) as largest,
        list(total) as totals,
        list(vector) as vectors
    from shares

),

ordered as (

    select
        sequence_id,
        position,
        page_count,
        list_transform(
            list_select(largest, places), lambda x: exp(x - list_max(largest))
        ) as factors,
        list_select(totals, places) as totals,
        flatten(list_select(vectors, places)) as elements
    from gathered

),

summed as (

    select
        *,
        list_transform(range({{ num_heads }}), lambda head: list_sum(list_transform(
            range(page_count),
            lambda p: factors[head * page_count + p + 1] * totals[head * page_count + p + 1]
        ))) as sums
    from ordered

)

select
    sequence_id,
    position,
    list_transform(
        range({{ num_heads * head_dim }}),
        lambda i: cast(
            list_sum(list_transform(
                range(page_count),
                lambda p: factors[{{ place }} + 1]
                * elements[({{ place }}) * {{ head_dim }} + i % {{ head_dim }} + 1]
            )) / sums[i // {{ head_dim }} + 1] as real
        )
    ) as vector
from summed
{%- endmacro %}
