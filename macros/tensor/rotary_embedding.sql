{#
    Rotary position embedding of queries and keys (RoFormer, arXiv 2104.09864;
    apply_rotary_pos_emb of Hugging Face, which pairs i with i + head_dim / 2). Of every head:

        y[i]            = x[i] * cos[i] - x[i + half] * sin[i]
        y[i + half]     = x[i + half] * cos[i] + x[i] * sin[i],  i < half

    A select of (sequence_id, position, vector): the turned heads side by side,
    those of the first input before those of the second.

    inputs        list of (relation, number of heads); each relation is
                  (sequence_id, position, vector) with its heads at the front
    angles        relation (position, cosine, sine); none where nothing turns, and the heads only
                  come to stand side by side
    head_dim      width of a head
    single_token  see the macro of this name
    by_sequence   whether a position has angles for each sequence, in a column sequence_id of angles
#}
{% macro rotary_embedding(inputs, angles, head_dim, single_token=false, by_sequence=false) -%}
    {%- set heads = relama._heads_side_by_side(inputs, head_dim, single_token) -%}
    {%- if angles is none -%}
        {{ return(heads) }}
    {%- endif -%}
    {{ return(adapter.dispatch('rotary_embedding', 'relama')(
        heads, angles, head_dim, single_token, inputs,
        ['sequence_id', 'position'] if by_sequence else ['position']
    )) }}
{%- endmacro %}

{% macro default__rotary_embedding(heads, angles, head_dim, single_token, inputs, keys) -%}
    {%- set half = head_dim // 2 -%}
with x as materialized (

    {{ heads | indent(4) }}

)

select
    x.sequence_id,
    x.position,
    array(
        select {{ relama._narrowed(
            'cast(e.value as double precision) * a.cosine[(e.i - 1) % ' ~ half ~ ' + 1]'
            ~ ' + cast(case when (e.i - 1) % ' ~ head_dim ~ ' < ' ~ half
            ~ ' then -x.vector[e.i + ' ~ half ~ '] else x.vector[e.i - ' ~ half ~ '] end'
            ~ ' as double precision) * a.sine[(e.i - 1) % ' ~ half ~ ' + 1]'
        ) }}
        from unnest(x.vector) with ordinality as e (value, i)
        order by e.i
    ) as vector
from x
inner join {{ angles }} as a on {{ relama._same('x', 'a', keys) }}
{%- endmacro %}

{% macro duckdb__rotary_embedding(heads, angles, head_dim, single_token, inputs, keys) -%}
    {%- set half = head_dim // 2 -%}
select
    x.sequence_id,
    x.position,
    {%- if relama._native() %}
    relama_rotary_embedding(x.vector, a.cosine, a.sine) as vector
    {%- else %}
    list_transform(
        x.vector,
        lambda value, i: value * a.cosine[(i - 1) % {{ half }} + 1]
        + case
            when (i - 1) % {{ head_dim }} < {{ half }} then -x.vector[i + {{ half }}]
            else x.vector[i - {{ half }}]
        end * a.sine[(i - 1) % {{ half }} + 1]
    ) as vector
    {%- endif %}
from (
    {{ heads | indent(4) }}
) as x
inner join {{ angles }} as a on {{ relama._same('x', 'a', keys, single_token) }}
{%- endmacro %}

{# The first halves of all heads are turned, and then the second. #}
{% macro clickhouse__rotary_embedding(heads, angles, head_dim, single_token, inputs, keys) -%}
    {%- set half = head_dim // 2 -%}
    {%- set first = relama._vector_slice('x.vector', 'head * ' ~ head_dim, half) -%}
    {%- set second = relama._vector_slice('x.vector', 'head * ' ~ head_dim ~ ' + ' ~ half, half) -%}
select
    x.sequence_id as sequence_id,
    x.position as position,
    arrayFlatten(arrayMap(
        head -> arrayConcat(
            arrayMap(
                (a, b, c, s) -> toFloat32(a * c - b * s),
                {{ first }},
                {{ second }},
                a.cosine,
                a.sine
            ),
            arrayMap(
                (a, b, c, s) -> toFloat32(b * c + a * s),
                {{ first }},
                {{ second }},
                a.cosine,
                a.sine
            )
        ),
        range({{ inputs | sum(attribute=1) }})
    )) as vector
    {%- if inputs | length == 1 %}
from {{ inputs[0][0] }} as x
    {%- else %}
from (
    {{ heads | indent(4) }}
) as x
    {%- endif %}
    {%- if single_token %}
cross join {{ angles }} as a
    {%- else %}
inner join {{ angles }} as a on {{ relama._same('x', 'a', keys) }}
    {%- endif -%}
{%- endmacro %}

{# The heads at the front of several vectors, in one vector. A select. #}
{% macro _heads_side_by_side(inputs, head_dim, single_token) -%}
    {%- set slices = [] -%}
    {%- for _, heads in inputs -%}
        {%- do slices.append(
            relama._vector_slice('x' ~ loop.index0 ~ '.vector', 0, heads * head_dim)
        ) -%}
    {%- endfor -%}
select
    x0.sequence_id as sequence_id,
    x0.position as position,
    {{ slices | join('\n    || ') }} as vector
from {{ inputs[0][0] }} as x0
    {%- for relation, _ in inputs[1:] %}
inner join {{ relation }} as x{{ loop.index }}
    on {{ relama._same('x0', 'x' ~ loop.index, ['sequence_id', 'position'], single_token) }}
    {%- endfor -%}
{%- endmacro %}
