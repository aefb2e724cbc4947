{#
    Softmax of the column `vector`: exp(x - max) / sum(exp(x - max)). The
    maximum is subtracted first, without which exp overflows. A select of the
    keys and `vector`.

    relation  relation with the keys and `vector`: a name, or a select in parentheses
    keys      list of column names that are passed on
#}
{% macro _softmax(relation, keys) -%}
    {{ return(adapter.dispatch('_softmax', 'relama')(relation, keys)) }}
{%- endmacro %}

{% macro default___softmax(relation, keys) -%}
select
    {{ keys | join(',\n    ') }},
    array(
        select {{ relama._narrowed(relama._exponential('e.x - m.largest') ~ ' / m.total') }}
        from unnest(s.vector) with ordinality as e (x, i)
        cross join (
            select
                l.largest,
                sum({{ relama._exponential('d.x - l.largest') }}) as total
            from unnest(s.vector) as d (x)
            cross join (select max(c.x) as largest from unnest(s.vector) as c (x)) as l
            group by l.largest
        ) as m
        order by e.i
    ) as vector
from {{ relation }} as s
{%- endmacro %}

{% macro duckdb___softmax(relation, keys) -%}
select
    {{ keys | join(',\n    ') }},
    list_transform(exponentials, lambda e: cast(e / total as real)) as vector
from (
    select
        *,
        list_sum(exponentials) as total
    from (
        select
            *,
            list_transform(vector, lambda x: exp(x - largest)) as exponentials
        from (
            select
                *,
                list_max(vector) as largest
            from {{ relation | indent(12) }} as s
        ) as maxima
    ) as exponentiated
) as summed
{%- endmacro %}

{% macro clickhouse___softmax(relation, keys) -%}
select
    {{ keys | join(',\n    ') }},
    arrayMap(e -> toFloat32(e / arraySum(exponentials)), exponentials) as vector
from (
    select
        *,
        arrayMap(x -> exp(x - largest), vector) as exponentials
    from (
        select
            *,
            arrayMax(vector) as largest
        from {{ relation | indent(8) }} as s
    ) as maxima
) as exponentiated
{%- endmacro %}
