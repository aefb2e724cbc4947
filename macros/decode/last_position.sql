{#
    The rows of the last position of every sequence: only they predict a token
    that is not known yet. A select of (sequence_id, position, vector).

    hidden  relation (sequence_id, position, vector)
#}
{% macro last_position(hidden) -%}
    {{ return(adapter.dispatch('last_position', 'relama')(hidden)) }}
{%- endmacro %}

{% macro default__last_position(hidden) -%}
select
    h.sequence_id,
    h.position,
    h.vector
from {{ hidden }} as h
inner join (
    select
        sequence_id,
        max(position) as position
    from {{ hidden }}
    group by sequence_id
) as l on h.sequence_id = l.sequence_id and h.position = l.position
{%- endmacro %}

{% macro clickhouse__last_position(hidden) -%}
select * from {{ hidden }}
order by position desc
limit 1 by sequence_id
{%- endmacro %}
