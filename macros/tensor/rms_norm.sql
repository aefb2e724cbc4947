{#
    Root mean square normalisation (arXiv 1910.07467, equation 4; LlamaRMSNorm):

        y[i] = x[i] / sqrt(mean over j of x[j]^2 + eps) * weight[i]

    A select of (sequence_id, position, vector).

    hidden    relation (sequence_id, position, vector)
    weight    relation of one row (row_id, vector)
    eps       added under the root
    head_dim  where it is given, each stretch of so many elements is normalised by itself,
              with a weight of that width (Qwen3RMSNorm of queries and keys)
#}
{% macro rms_norm(hidden, weight, eps, head_dim=none) -%}
    {{ return(adapter.dispatch('rms_norm', 'relama')(hidden, weight, eps, head_dim)) }}
{%- endmacro %}

{# Sums are of 64 bits: PostgreSQL calls a product that is too small for its type an error. #}
{% macro default__rms_norm(hidden, weight, eps, head_dim=none) -%}
    {%- if head_dim is none -%}
with x as materialized (

    select * from {{ hidden }}

)

select
    x.sequence_id,
    x.position,
    array(
        select {{ relama._narrowed('e.value * m.inverse_rms * e.weight') }}
        from unnest(x.vector, w.vector) with ordinality as e (value, weight, i)
        order by e.i
    ) as vector
from x
cross join {{ weight }} as w
cross join lateral (
    select 1 / sqrt(avg(cast(s.value as double precision) * s.value) + {{ eps }}) as inverse_rms
    from unnest(x.vector) as s (value)
) as m
    {%- else -%}
select
    x.sequence_id,
    x.position,
    array(
        select {{ relama._narrowed(
            'e.value * m.inverse_rms * w.vector[(e.i - 1) % ' ~ head_dim ~ ' + 1]'
        ) }}
        from unnest(x.vector) with ordinality as e (value, i)
        inner join (
            select
                {{ relama._integer_divide('s.i - 1', head_dim) }} as head,
                1 / sqrt(avg(cast(s.value as double precision) * s.value) + {{ eps }}) as inverse_rms
            from unnest(x.vector) with ordinality as s (value, i)
            group by {{ relama._integer_divide('s.i - 1', head_dim) }}
        ) as m
            on {{ relama._integer_divide('e.i - 1', head_dim) }} = m.head
        order by e.i
    ) as vector
from {{ hidden }} as x
cross join {{ weight }} as w
    {%- endif -%}
{%- endmacro %}

{% macro duckdb__rms_norm(hidden, weight, eps, head_dim=none) -%}
    {%- if relama._native() -%}
select
    x.sequence_id,
    x.position,
    relama_rms_norm(x.vector, w.vector, {{ eps }}) as vector
from {{ hidden }} as x
cross join {{ weight }} as w
    {%- else -%}
    {%- set head = relama._vector_slice('h.vector', 'head * ' ~ head_dim, head_dim) -%}
select
    x.sequence_id,
    x.position,
    list_transform(
        x.vector,
        {%- if head_dim is none %}
        lambda value, i: value * x.inverse_rms * w.vector[i]
        {%- else %}
        lambda value, i: value
        * x.inverse_rms[(i - 1) // {{ head_dim }} + 1] * w.vector[(i - 1) % {{ head_dim }} + 1]
        {%- endif %}
    ) as vector
from (
    select
        h.*,
        {%- if head_dim is none %}
        {{ relama._inverse_rms('h.vector', 'len(h.vector)', eps) | indent(8) }} as inverse_rms
        {%- else %}
        list_transform(
            list_transform(
                range(len(h.vector) // {{ head_dim }}),
                lambda head: {{ head }}
            ),
            lambda x: {{ relama._inverse_rms('x', head_dim, eps) | indent(12) }}
        ) as inverse_rms
        {%- endif %}
    from {{ hidden }} as h
) as x
cross join {{ weight }} as w
    {%- endif -%}
{%- endmacro %}

{# 1 / sqrt(mean(x^2) + eps) of a vector. An expression. #}
{% macro _inverse_rms(vector, width, eps) -%}
cast(
    1 / sqrt(
        {{ relama._inner_product(vector, vector) }}
        / {{ width }} + {{ eps }}
    ) as real
)
{%- endmacro %}

{# Products of real are double precision: every element is narrowed again. #}
{% macro clickhouse__rms_norm(hidden, weight, eps, head_dim=none) -%}
    {%- if head_dim is none -%}
select
    sequence_id,
    position,
    arrayMap(
        (value, weight) -> toFloat32(value * inverse_rms * weight),
        vector,
        (select vector from {{ weight }})
    ) as vector
from (
    select
        *,
        {{ relama._inverse_rms('vector', 'length(vector)', eps) | indent(8) }} as inverse_rms
    from {{ hidden }}
) as x
    {%- else -%}
    {%- set head = relama._vector_slice('vector', 'head * ' ~ head_dim, head_dim) -%}
select
    sequence_id,
    position,
    arrayFlatten(arrayMap(
        x -> arrayMap(
            (value, weight) -> toFloat32(
                value * {{ relama._inverse_rms('x', head_dim, eps) | indent(16) }} * weight
            ),
            x,
            (select vector from {{ weight }})
        ),
        arrayMap(head -> {{ head }}, range(intDiv(length(vector), {{ head_dim }})))
    )) as vector
from {{ hidden }}
    {%- endif -%}
{%- endmacro %}
