{#
    Packs rows into vectors: one row for each combination of `keys`, its column
    `vector` holding `value` in the order of `index`. A select.

    relation  what to select from: a name, or a select in parentheses
    keys      list of column names to group by
    value     name of the column that becomes the elements
    index     name of the column that orders them
#}
{% macro _collect_vector(relation, keys, value, index) -%}
    {{ return(adapter.dispatch('_collect_vector', 'relama')(relation, keys, value, index)) }}
{%- endmacro %}

{% macro default___collect_vector(relation, keys, value, index) -%}
select
    {{ keys | join(',\n    ') }},
    array_agg({{ value }} order by {{ index }}) as vector
from {{ relation }} as unpacked
group by {{ keys | join(', ') }}
{%- endmacro %}

{#
    DuckDB sorts within an aggregate row by row, which costs more than the
    aggregate. Rows nearly always arrive in order and without gaps, so we collect
    the index too and sort only where it is needed.
#}
{% macro duckdb___collect_vector(relation, keys, value, index) -%}
select
    {{ keys | join(',\n    ') }},
    case
        when indices = range(indices[1], indices[1] + len(indices))
            then elements
        else list_select(elements, list_grade_up(indices))
    end as vector
from (
    select
        {{ keys | join(',\n        ') }},
        list({{ value }}) as elements,
        list({{ index }}) as indices
    from {{ relation | indent(4) }} as unpacked
    group by {{ keys | join(', ') }}
) as collected
{%- endmacro %}

{% macro clickhouse___collect_vector(relation, keys, value, index) -%}
select
    {{ keys | join(',\n    ') }},
    arrayMap(e -> e.2, arraySort(groupArray(({{ index }}, {{ value }})))) as vector
from {{ relation }} as unpacked
group by {{ keys | join(', ') }}
{%- endmacro %}
