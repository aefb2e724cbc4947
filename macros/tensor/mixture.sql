{#
    The end of a mixture of experts (MixtralExperts):

        y[i] = residual[i] + sum over the chosen experts of weight * x[expert][i]

    A select of (sequence_id, position, vector).

    experts       relation (sequence_id, position, expert_id, weight, vector), what each chosen
                  expert gave, with the router's weight
    residual      relation (sequence_id, position, vector)
    single_token  see the macro of this name
#}
{% macro mixture(experts, residual, single_token=false) -%}
    {{ return(adapter.dispatch('mixture', 'relama')(experts, residual, single_token)) }}
{%- endmacro %}

{% macro default__mixture(experts, residual, single_token) -%}
select
    h.sequence_id,
    h.position,
    array(
        select {{ relama._narrowed('h.vector[e.i] + sum(cast(x.weight as double precision) * e.y)') }}
        from {{ experts }} as x
        cross join unnest(x.vector) with ordinality as e (y, i)
        where {{ relama._same('x', 'h', ['sequence_id', 'position']) }}
        group by e.i
        order by e.i
    ) as vector
from {{ residual }} as h
{%- endmacro %}

{# Put in order outside of the aggregate, as in `_collect_vector`. #}
{% macro duckdb__mixture(experts, residual, single_token) -%}
with chosen as (

    select
        x.sequence_id,
        x.position,
        list(x.expert_id) as expert_ids,
        list(list_transform(x.vector, lambda y: y * x.weight)) as vectors
    from {{ experts }} as x
    group by x.sequence_id, x.position

)

select
    h.sequence_id,
    h.position,
    list_reduce(
        list_select(chosen.vectors, list_grade_up(chosen.expert_ids)),
        lambda sum, x: {{ 'relama_add(sum, x)' if relama._native() else 'list_transform(sum, lambda y, i: y + x[i])' }},
        h.vector
    ) as vector
from {{ residual }} as h
inner join chosen
    on {{ relama._same('h', 'chosen', ['sequence_id', 'position'], single_token) }}
{%- endmacro %}

{% macro clickhouse__mixture(experts, residual, single_token) -%}
select
    h.sequence_id as sequence_id,
    h.position as position,
    arrayMap((x, y) -> toFloat32(x + y), any(h.vector), sumForEach(
        arrayMap(y -> toFloat64(y) * x.weight, x.vector)
    )) as vector
from {{ experts }} as x
inner join {{ residual }} as h
    on {{ relama._same('x', 'h', ['sequence_id', 'position']) }}
group by h.sequence_id, h.position
{%- endmacro %}
