{#
    SwiGLU (arXiv 2002.05202, equation 6, without biases; LlamaMLP):

        y[i] = gate[i] * sigmoid(gate[i]) * up[i]

    A select of (sequence_id, position, vector).

    gate       relation (sequence_id, position, vector)
    up         the same, or none where one vector holds the gate and, behind it, up
    size       width of the result
    by_expert  whether both relations have columns expert_id and weight too, as the result then has
#}
{% macro swiglu(gate, up, size, by_expert=false) -%}
    {{ return(relama._gated(gate, up, size, none, by_expert)) }}
{%- endmacro %}

{#
    A gated unit, y[i] = gate[i] * sigmoid(exponent(gate[i])) * up[i].

    exponent   macro of an expression, the gate; none for the gate itself
    by_expert  see `swiglu`
#}
{% macro _gated(gate, up, size, exponent, by_expert=false) -%}
    {%- set keys = ['sequence_id', 'position'] + (['expert_id', 'weight'] if by_expert else []) -%}
    {%- set relation = gate if up is none else relama._concatenated(gate, up, keys) -%}
    {{ return(adapter.dispatch('_gated', 'relama')(relation, keys, size, exponent)) }}
{%- endmacro %}

{% macro default___gated(relation, keys, size, exponent) -%}
    {%- set gate = 'cast(e.gate as double precision)' -%}
with x as materialized (

    select * from {{ relation }} as gate_up

)

select
    {%- for key in keys %}
    x.{{ key }},
    {%- endfor %}
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

{% macro duckdb___gated(relation, keys, size, exponent) -%}
select
    {%- for key in keys %}
    x.{{ key }},
    {%- endfor %}
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

{% macro clickhouse___gated(relation, keys, size, exponent) -%}
select
    {{ keys | join(',\n    ') }},
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

{# Two vectors of the same keys one behind the other. #}
{% macro _concatenated(first, second, keys) -%}
(
    select
        {%- for key in keys %}
        a.{{ key }},
        {%- endfor %}
        a.vector || b.vector as vector
    from {{ first }} as a
    inner join {{ second }} as b
        on {{ relama._same('a', 'b', keys) }}
)
{%- endmacro %}
