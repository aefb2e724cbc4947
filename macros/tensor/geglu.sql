{#
    GEGLU (arXiv 2002.05202, equation 6, without biases; Gemma2MLP), with GELU (arXiv 1606.08415)
    in its form with tanh, which is this one with a sigmoid:

        y[i] = gate[i] * sigmoid(2 * sqrt(2 / pi) * (gate[i] + 0.044715 * gate[i]^3)) * up[i]

    A select of (sequence_id, position, vector).

    gate  relation (sequence_id, position, vector)
    up    the same, or none where one vector holds the gate and, behind it, up
    size  width of the result
#}
{% macro geglu(gate, up, size) -%}
    {%- set relation = gate if up is none else relama._concatenated(gate, up) -%}
    {{ return(adapter.dispatch('geglu', 'relama')(relation, size)) }}
{%- endmacro %}

{% macro default__geglu(relation, size) -%}
with x as materialized (

    select * from {{ relation }} as gate_up

)

select
    x.sequence_id,
    x.position,
    array(
        select {{ relama._narrowed(relama._sigmoid('g.gelu') ~ ' * g.gate * e.up') }}
        from unnest(
            {{ relama._vector_slice('x.vector', 0, size) }},
            {{ relama._vector_slice('x.vector', size, size) }}
        ) with ordinality as e (gate, up, i)
        cross join lateral (
            select
                cast(e.gate as double precision) as gate,
                {{ relama._gelu_exponent('cast(e.gate as double precision)') }} as gelu
        ) as g
        order by e.i
    ) as vector
from x
{%- endmacro %}

{% macro duckdb__geglu(relation, size) -%}
select
    x.sequence_id,
    x.position,
    list_transform(
        {{ relama._vector_slice('x.vector', 0, size) }},
        lambda gate, i: cast(
            gate
            / (1 + exp(-{{ relama._gelu_exponent('gate') }}))
            * x.vector[i + {{ size }}] as real
        )
    ) as vector
from {{ relation }} as x
{%- endmacro %}

{% macro clickhouse__geglu(relation, size) -%}
select
    sequence_id,
    position,
    arrayMap(
        (gate, up) -> toFloat32(gate / (1 + exp(-{{ relama._gelu_exponent('gate') }})) * up),
        {{ relama._vector_slice('vector', 0, size) }},
        {{ relama._vector_slice('vector', size, size) }}
    ) as vector
from {{ relation }} as x
{%- endmacro %}

{# What the sigmoid of GELU is taken of. An expression; 2 * sqrt(2 / pi) = 1.5957691216057308. #}
{% macro _gelu_exponent(gate) -%}
    (1.5957691216057308 * {{ gate }} * (1 + 0.044715 * {{ gate }} * {{ gate }}))
{%- endmacro %}
