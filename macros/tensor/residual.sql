{#
    The residual connection where nothing else adds it (GraniteDecoderLayer):

        y[i] = x[i] * multiplier + residual[i]

    or, with a gate of one number (Qwen2MoeSparseMoeBlock),

        y[i] = sigmoid(gate) * x[i] * multiplier + residual[i]

    A select of (sequence_id, position, vector).

    hidden        relation (sequence_id, position, vector)
    residual      the same
    multiplier    a number
    gate          relation (sequence_id, position, vector) whose vector has one number, or none
    single_token  see the macro of this name
#}
{% macro residual(hidden, residual, multiplier=1, gate=none, single_token=false) -%}
    {%- if gate is not none -%}
        {%- set multiplier = multiplier ~ ' * g.share' -%}
    {%- endif -%}
    {%- set sum = adapter.dispatch('_residual_sum', 'relama')(multiplier) -%}
select
    x.sequence_id as sequence_id,
    x.position as position,
    {{ sum | trim }} as vector
from {{ hidden }} as x
inner join {{ residual }} as r
    on {{ relama._same('x', 'r', ['sequence_id', 'position'], single_token) }}
{%- if gate is not none %}
inner join (
    select
        sequence_id,
        position,
        {{ relama._sigmoid('gate') | trim | indent(4) }} as share
    from (
        select
            sequence_id,
            position,
            cast(vector[1] as double precision) as gate
        from {{ gate }}
    ) as gates
) as g
    on {{ relama._same('x', 'g', ['sequence_id', 'position'], single_token) }}
{%- endif %}
{%- endmacro %}

{# x.vector times a number, plus r.vector. An expression. #}
{% macro default___residual_sum(multiplier) -%}
    array(
        select {{ relama._narrowed(
            'cast(e.x as double precision) * ' ~ multiplier ~ ' + e.residual'
        ) }}
        from unnest(x.vector, r.vector) with ordinality as e (x, residual, i)
        order by e.i
    )
{%- endmacro %}

{% macro duckdb___residual_sum(multiplier) -%}
    {%- if relama._native() and multiplier == 1 -%}
    relama_add(x.vector, r.vector)
    {%- else -%}
    list_transform(x.vector, lambda v, i: cast(v * {{ multiplier }} + r.vector[i] as real))
    {%- endif -%}
{%- endmacro %}

{% macro clickhouse___residual_sum(multiplier) -%}
    arrayMap((v, w) -> toFloat32(v * {{ multiplier }} + w), x.vector, r.vector)
{%- endmacro %}
