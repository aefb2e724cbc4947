{#
    Causal attention (arXiv 1706.03762, equation 1), query heads sharing key and
    value heads in groups (arXiv 2305.13245):

        y[head] = sum over k of softmax(query[head] . key[k] / sqrt(head_dim))[k] * value[k]

    A select of (sequence_id, position, vector): the heads side by side.

    rotated       relation (sequence_id, position, vector), its query heads first
    cache         relation (sequence_id, position, kv_head, key, value) of earlier steps
    appended      the same of this step
    pages         relation of the full pages of the cache, see `kv_page`
    paged         relation (sequence_id, position): where the pages of a sequence end
    num_heads     number of query heads
    num_kv_heads  number of heads that have a key and a value
    head_dim      width of a head
    parallelism   into how many parts a step of many positions is cut, one for a thread
    scaling       what query . key is multiplied by in place of 1 / sqrt(head_dim)
    softcap       where it is given, a score is softcap * tanh(score / softcap) (arXiv 2408.00118)
    sliding_window  how many positions are attended to, the last of them the query's own (arXiv
                  2310.06825); none for all up to it
    single_token  see the macro of this name
#}
{% macro attention(
    rotated, cache, appended, pages, paged, num_heads, num_kv_heads, head_dim, parallelism=2,
    scaling=none, softcap=none, sliding_window=none, single_token=false
) -%}
    {{ return(adapter.dispatch('attention', 'relama')(
        rotated, cache, appended, pages, paged, num_heads, num_kv_heads, head_dim, parallelism,
        scaling, softcap, sliding_window, single_token
    )) }}
{%- endmacro %}

{#
    The scores of all pairs, their exponentials below the largest of a query and head, and the
    values that these weigh. Pages only repeat what is in the cache.
#}
{% macro default__attention(
    rotated, cache, appended, pages, paged, num_heads, num_kv_heads, head_dim, parallelism,
    scaling, softcap, sliding_window, single_token
) -%}
    {%- set scale = scaling if scaling is not none else 1 / head_dim ** 0.5 -%}
    {%- set head = relama._vector_slice('r.vector', 'h.head * ' ~ head_dim, head_dim) -%}
with query as materialized (

    select
        r.sequence_id,
        r.position,
        h.head,
        {{ relama._as_cached(head) }} as vector
    from {{ rotated }} as r
    cross join {{ relama._series(num_heads, 'h', 'head') }}

),

cached as (

    select
        sequence_id,
        position,
        kv_head,
        key,
        value
    from {{ cache }}

    union all

    select
        sequence_id,
        position,
        kv_head,
        key,
        value
    from {{ appended }}

),

scored as materialized (

    select
        q.sequence_id,
        q.position,
        q.head,
        k.value,
        {{ relama._softcapped(
            relama._cached_product('k.key', 'q.vector') ~ ' * ' ~ scale, softcap
        ) }} as score
    from cached as k
    inner join query as q
        on
            k.sequence_id = q.sequence_id
            and k.kv_head = {{ relama._integer_divide('q.head', num_heads // num_kv_heads) }}
            and k.position <= q.position
            {%- if sliding_window is not none %}
            and k.position > q.position - {{ sliding_window }}
            {%- endif %}

),

measured as (

    select
        *,
        max(score) over (partition by sequence_id, position, head) as largest
    from scored

),

weighed as (

    select
        *,
        {{ relama._exponential('score - largest') | indent(8) }} as weight
    from measured

),

summed as materialized (

    select
        sequence_id,
        position,
        head,
        sum(weight) as total,
        {{ relama._weighed_sum('weight', 'value', head_dim) | indent(8) }} as vector
    from weighed
    group by sequence_id, position, head

)

select
    q.sequence_id,
    q.position,
    array(
        select {{ relama._narrowed('e.y / s.total') }}
        from summed as s
        cross join unnest(s.vector) with ordinality as e (y, i)
        where s.sequence_id = q.sequence_id and s.position = q.position
        order by s.head, e.i
    ) as vector
from {{ rotated }} as q
{%- endmacro %}

{#
    The largest score of each query and head comes first, so that the values are added up as they
    are read: none is kept.
#}
{% macro clickhouse__attention(
    rotated, cache, appended, pages, paged, num_heads, num_kv_heads, head_dim, parallelism,
    scaling, softcap, sliding_window, single_token
) -%}
    {%- set scale = scaling if scaling is not none else 1 / head_dim ** 0.5 -%}
    {%- set group = num_heads // num_kv_heads -%}
    {%- if single_token -%}
{{ relama._single_attention(
    rotated, cache, appended, num_heads, group, head_dim, scale, softcap, sliding_window
) }}
    {%- else -%}
with query as (

    select
        sequence_id,
        position,
        head,
        toInt32(intDiv(head, {{ group }})) as kv_head,
        {{ relama._vector_slice('vector', 'head * ' ~ head_dim, head_dim) }} as vector
    from {{ rotated }}
    array join range({{ num_heads }}) as head

),

cached as (

    select
        sequence_id,
        position,
        kv_head,
        key,
        value
    from {{ cache }}

    union all

    select
        sequence_id,
        position,
        kv_head,
        key,
        value
    from {{ appended }}

),

pairs as (

    select
        q.sequence_id as sequence_id,
        q.position as position,
        q.head as head,
        k.value as value,
        {{ relama._softcapped('arrayDotProduct(k.key, q.vector) * ' ~ scale, softcap) }} as score
    from cached as k
    inner join query as q on k.sequence_id = q.sequence_id and k.kv_head = q.kv_head
    where k.position <= q.position
    {%- if sliding_window is not none %} and k.position > q.position - {{ sliding_window }}{% endif %}

),

measured as (

    select
        sequence_id,
        position,
        head,
        max(score) as largest
    from pairs
    group by sequence_id, position, head

),

weighed as (

    select
        p.sequence_id as sequence_id,
        p.position as position,
        p.head as head,
        p.value as value,
        exp(p.score - m.largest) as weight
    from pairs as p
    inner join measured as m
        on {{ relama._same('p', 'm', ['sequence_id', 'position', 'head']) }}

),

summed as (

    select
        sequence_id,
        position,
        head,
        sum(weight) as total,
        sumForEach(arrayMap(x -> x * weight, value)) as vector
    from weighed
    group by sequence_id, position, head

)

select
    sequence_id,
    position,
    arrayFlatten(groupArrayInsertAt(
        arrayMap(y -> toFloat32(y / total), vector), toUInt32(head)
    )) as vector
from summed
group by sequence_id, position
    {%- endif -%}
{%- endmacro %}

{#
    A single token comes after everything cached, so that no score is masked but by a window, and
    the values are few enough to be collected.
#}
{% macro _single_attention(
    rotated, cache, appended, num_heads, group, head_dim, scale, softcap, sliding_window
) -%}
    {%- set score -%}
arrayDotProduct(
                k.key, {{ relama._vector_slice('q.vector', 'head * ' ~ head_dim, head_dim) }}
            ) * {{ scale }}
    {%- endset -%}
select
    sequence_id,
    position,
    arrayFlatten(groupArrayInsertAt(
        cast(
            arrayReduce('sumForEach', arrayMap((w, v) -> v * w, weights, vals)) / arraySum(weights)
            as Array(Float32)
        ),
        toUInt32(head)
    )) as vector
from (
    select
        head,
        any(q.sequence_id) as sequence_id,
        any(q.position) as position,
        groupArray(k.value) as vals,
        groupArray(
            {{ relama._softcapped(score, softcap) }}
        ) as scores,
        arrayMap(s -> exp(s - arrayMax(scores)), scores) as weights
    from (
        select position, kv_head, key, value from {{ cache }}
        union all
        select position, kv_head, key, value from {{ appended }}
    ) as k
    cross join {{ rotated }} as q
    array join range(k.kv_head * {{ group }}, (k.kv_head + 1) * {{ group }}) as head
    {%- if sliding_window is not none %}
    where k.position > q.position - {{ sliding_window }}
    {%- endif %}
    group by head
) as heads
group by sequence_id, position
{%- endmacro %}

{# A key, a value or a query as the cache keeps it. An expression. #}
{% macro _as_cached(vector) -%}
    {{- 'cast(' ~ vector ~ ' as vector)' if relama._pgvector() else vector -}}
{%- endmacro %}

{# The inner product of two vectors as the cache keeps them. An expression. #}
{% macro _cached_product(a, b) -%}
    {{- '-(' ~ a ~ ' <#> ' ~ b ~ ')' if relama._pgvector() else relama._inner_product(a, b) -}}
{%- endmacro %}

{# A vector of the cache as a list. An expression. #}
{% macro _from_cache(vector) -%}
    {{- 'cast(' ~ vector ~ ' as real[])' if relama._pgvector() else vector -}}
{%- endmacro %}

{# The type of a vector of the cache. #}
{% macro _vector_type() -%}
    {{- 'vector' if relama._pgvector() else 'real[]' -}}
{%- endmacro %}

{# Whether vectors are those of PostgreSQL's extension pgvector: the variable `relama_pgvector`. #}
{% macro _pgvector() -%}
    {{ return(target.type == 'postgres' and var('relama_pgvector', false)) }}
{%- endmacro %}

{# The sum of vectors of the cache, each times its weight, as a list. An aggregate expression. #}
{% macro _weighed_sum(weight, value, head_dim) -%}
    {%- if relama._pgvector() -%}
cast(sum({{ value }} * cast(
    array_fill(cast({{ weight }} as real), array[{{ head_dim }}]) as vector
)) as real[])
    {%- else -%}
array[
        {%- for i in range(head_dim) %}
    sum({{ weight }} * {{ value }}[{{ i + 1 }}]){{ ',' if not loop.last }}
        {%- endfor %}
]
    {%- endif -%}
{%- endmacro %}

{% macro duckdb__attention(
    rotated, cache, appended, pages, paged, num_heads, num_kv_heads, head_dim, parallelism,
    scaling, softcap, sliding_window, single_token
) -%}
    {%- if relama._native() -%}
{{ relama._native_attention(
    rotated, cache, appended, num_heads, num_kv_heads, head_dim, scaling, softcap, sliding_window,
    single_token
) }}
    {%- else -%}
{{ relama._paged_attention(
    rotated, cache, appended, pages, paged, num_heads, num_kv_heads, head_dim, parallelism,
    scaling, softcap, sliding_window, single_token
) }}
    {%- endif -%}
{%- endmacro %}

{#
    An aggregate over the rows of the cache, with a running maximum as in flash attention
    (arXiv 2205.14135, algorithm 1). A row without a sequence_id is one of every sequence.
    The function skips a pair whose key has no position, or a later one than the query:
    a join would copy keys and values.
#}
{% macro _native_attention(
    rotated, cache, appended, num_heads, num_kv_heads, head_dim, scaling, softcap, sliding_window,
    single_token
) -%}
    {%- set seen = [] -%}
    {%- if not single_token -%}
        {%- do seen.append('coalesce(k.sequence_id, q.sequence_id) = q.sequence_id') -%}
    {%- endif -%}
    {%- if sliding_window is not none -%}
        {%- do seen.append('k.position > q.position - ' ~ sliding_window) -%}
    {%- endif -%}
with query as (

    select
        sequence_id,
        position,
        {{ relama._vector_slice('vector', 0, num_heads * head_dim) }} as vector
    from {{ rotated }}

),

cached as (

    select * from {{ cache }}

    union all

    select * from {{ appended }}

)

select
    {% if single_token -%}
    min(q.sequence_id) as sequence_id,
    min(q.position) as position,
    {%- else -%}
    q.sequence_id,
    q.position,
    {%- endif %}
    relama_attention(
        q.vector,
        q.position,
        cast(k.kv_head as integer),
        {% if not seen -%}
        k.position,
        {%- else -%}
        case
            when {{ seen | join(' and ') }} then k.position
        end,
        {%- endif %}
        k.key,
        k.value,
        {{ num_kv_heads }},
        {{ scaling if scaling is not none else 1 / head_dim ** 0.5 }}
        {%- if softcap is not none %},
        {{ softcap }}
        {%- endif %}
    ) as vector
from cached as k
cross join query as q
    {%- if not single_token %}
group by q.sequence_id, q.position
    {%- endif -%}
{%- endmacro %}

{#
    Page by page, as flash-decoding does: each page gives its share of the sum, the
    largest score in it and the sum of its exponentials. The shares are then scaled
    to the largest score of all:

        y[head] = sum over p of f[p] * share[p] / sum over p of f[p] * total[p],
        f[p] = exp(largest[p] - max of largest)

    A value is weighed by inner products along the dimensions of the page, and no
    page is copied. A page without a sequence_id is one of every sequence: what all
    texts begin with is kept once.

    A single token comes after everything cached, so no score is masked but by a window, and it
    goes into one page with what no page holds yet. A page that a window has left behind is not
    read. Otherwise the rows of the step are `parallelism`
    pages, one for a thread: the heads are dealt out to them.
#}
{% macro _paged_attention(
    rotated, cache, appended, pages, paged, num_heads, num_kv_heads, head_dim, parallelism,
    scaling, softcap, sliding_window, single_token
) -%}
    {%- set parts = ['recent'] -%}
    {%- set scale = relama._real(scaling if scaling is not none else 1 / head_dim ** 0.5) -%}
    {%- set score = relama._softcapped(
        relama._inner_product('key', 'q.vector') ~ ' * ' ~ scale, softcap
    ) -%}
    {%- set place = '(i // ' ~ head_dim ~ ') * page_count + p' -%}
with query as (

    {{ relama._heads(rotated, num_heads, head_dim) | indent(4) }}

),

recent as (

    select c.*
    from {{ cache }} as c
    inner join {{ paged }} as p
        on {{ relama._same('c', 'p', ['sequence_id'], single_token) }} and c.position >= p.position
    {%- if single_token %}

    union all by name

    select * from {{ appended }}
    {%- endif %}

),

{% if not single_token -%}
{% for part in range(parallelism) -%}
{% do parts.append('heads_' ~ part) -%}
heads_{{ part }} as (

    select *
    from {{ appended }}
    where kv_head % {{ parallelism }} = {{ part }}

),

{% endfor -%}
{% endif -%}
page as (

    select
        sequence_id,
        kv_head,
        first_position,
        keys,
        dimensions
    from {{ pages }}
    {%- for rows in parts %}

    union all

    {{ relama.kv_page(rows, head_dim) | indent(4) }}
    {%- endfor %}

),

scored as (

    select
        q.sequence_id,
        q.position,
        q.head,
        k.first_position,
        k.dimensions,
        {%- if single_token and sliding_window is none %}
        list_transform(
            k.keys,
            lambda key: {{ score }}
        ) as scores
        {%- else %}
        list_transform(
            k.keys,
            lambda key, i: case
                when
                    k.first_position + i - 1 <= q.position
                    {%- if sliding_window is not none %}
                    and k.first_position + i - 1 > q.position - {{ sliding_window }}
                    {%- endif %}
                    then {{ score }}
                else {{ relama._real("'-infinity'") }}
            end
        ) as scores
        {%- endif %}
    from page as k
    inner join query as q
        on
            {% if single_token -%}
            k.kv_head - q.head // {{ num_heads // num_kv_heads }} = 0
            {%- else -%}
            k.kv_head = q.head // {{ num_heads // num_kv_heads }}
            and coalesce(k.sequence_id, q.sequence_id) = q.sequence_id
            and k.first_position <= q.position
            {%- endif %}
            {%- if sliding_window is not none %}
            and k.first_position + len(k.keys) > q.position - {{ sliding_window - 1 }}
            {%- endif %}

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
            lambda dimension: {{ relama._inner_product('dimension', 'exponentials') }}
        ) as vector
    from weighed

),

collected as (

    select
        sequence_id,
        position,
        count(*) // {{ num_heads }} as page_count,
        list_grade_up(list(cast(head as bigint) * 4294967296 + first_position)) as places,
        list(largest) as largest,
        list(total) as totals,
        list(vector) as vectors
    from shares
    group by sequence_id, position

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
    from collected

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
    case
        when page_count = 1
            then
                list_transform(
                    elements,
                    lambda e, i: cast(e / totals[(i - 1) // {{ head_dim }} + 1] as real)
                )
        else
            list_transform(
                range({{ num_heads * head_dim }}),
                lambda i: cast(
                    list_sum(list_transform(
                        range(page_count),
                        lambda p: factors[{{ place }} + 1]
                        * elements[({{ place }}) * {{ head_dim }} + i % {{ head_dim }} + 1]
                    )) / sums[i // {{ head_dim }} + 1] as real
                )
            )
    end as vector
from summed
{%- endmacro %}
