{#
    SwiGLU (arXiv 2002.05202, equation 6, without biases; LlamaMLP):

        y[i] = gate[i] * sigmoid(gate[i]) * up[i]

    A select of (sequence_id, position, vector).

    gate  relation (sequence_id, position, vector)
    up    the same, or none where one vector holds the gate and, behind it, up
    size  width of the result
#}
{% macro swiglu(gate, up, size) -%}
    {{ return(relama._gated(gate, up, size, none)) }}
{%- endmacro %}

{#
    A gated unit, y[i] = gate[i] * sigmoid(exponent(gate[i])) * up[i].

    exponent  macro of an expression, the gate; none for the gate itself
#}
{% macro _gated(gate, up, size, exponent) -%}
    {%- set relation = gate if up is none else relama._concatenated(gate, up) -%}
    {{ return(adapter.dispatch('_gated', 'relama')(relation, size, exponent)) }}
{%- endmacro %}

{% macro default___gated(relation, size, exponent) -%}
    {%- set gate = 'cast(e.gate as double precision)' -%}
with x as materialized (

    select * from {{ relation }} as gate_up

)

select
    x.sequence_id,
    x.position,
    array(
        select {{ relama._narrowed(
            relama._sigmoid(exponent(gate) if exponent else gate) ~ ' * e.gate * e.up'
        ) }}
        from unnest(
            {{ relama._vector_slice('x.vector', 0, size) }},
            {{ relama._vector_slice('x.vector', size, size) }}
        ) with ordinality as e (gate, up, i)
        order by e.i
    ) as vector
from x
{%- endmacro %}

{% macro duckdb___gated(relation, size, exponent) -%}
select
    x.sequence_id,
    x.position,
    {%- if relama._native() and exponent is none %}
    relama_swiglu(x.vector) as vector
    {%- else %}
    list_transform(
        {{ relama._vector_slice('x.vector', 0, size) }},
        lambda gate, i: cast(gate / (1 + exp(-{{ exponent('gate') if exponent else 'gate' }})) * x.vector[i + {{ size }}] as real)
    ) as vector
    {%- endif %}
from {{ relation }} as x
{%- endmacro %}

{% macro clickhouse___gated(relation, size, exponent) -%}
select
    sequence_id,
    position,
    arrayMap(
        (gate, up) -> toFloat32(gate / (1 + exp(-{{ exponent('gate') if exponent else 'gate' }})) * up),
        {{ relama._vector_slice('vector', 0, size) }},
        {{ relama._vector_slice('vector', size, size) }}
    ) as vector
from {{ relation }} as x
{%- endmacro %}

{# 1 / (1 + exp(-x)) in a form that takes exponentials of negative numbers only. #}
{% macro _sigmoid(x) -%}
    case
        when {{ x }} < 0 then {{ relama._exponential(x) }} / (1 + {{ relama._exponential(x) }})
        else 1 / (1 + {{ relama._exponential('-' ~ x) }})
    end
{%- endmacro %}

{# Two vectors of the same position one behind the other. #}
{% macro _concatenated(first, second) -%}
(
    select
        a.sequence_id,
        a.position,
        a.vector || b.vector as vector
    from {{ first }} as a
    inner join {{ second }} as b
        on a.sequence_id = b.sequence_id and a.position = b.position
)
{%- endmacro %}
