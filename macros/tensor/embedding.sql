{#
    The embedding of every token of this step: row `token_id` of the weight.
    A select of (sequence_id, position, vector).

    step_input  relation (sequence_id, position, token_id)
    weight      relation of row_id and the columns of the storage
    storage     one that has rows: float32, int8 or int567
    multiplier  of every vector
#}
{% macro embedding(step_input, weight, storage='float32', multiplier=1) -%}
    {%- set vector = relama._times(relama._dequantized('w', storage) | trim, multiplier) -%}
    {{ return(adapter.dispatch('embedding', 'relama')(step_input, weight, vector)) }}
{%- endmacro %}

{# A vector times a number. An expression. #}
{% macro _times(vector, multiplier) -%}
    {{ return(
        vector if multiplier == 1
        else adapter.dispatch('_times', 'relama')(vector, multiplier) | trim
    ) }}
{%- endmacro %}

{% macro default___times(vector, multiplier) -%}
array(
        select {{ relama._narrowed('cast(e.value as double precision) * ' ~ multiplier) }}
        from unnest({{ vector }}) with ordinality as e (value, i)
        order by e.i
    )
{%- endmacro %}

{% macro duckdb___times(vector, multiplier) -%}
list_transform({{ vector }}, lambda value: cast(value * {{ multiplier }} as real))
{%- endmacro %}

{% macro clickhouse___times(vector, multiplier) -%}
arrayMap(value -> toFloat32(value * {{ multiplier }}), {{ vector }})
{%- endmacro %}

{% macro default__embedding(step_input, weight, vector) -%}
select
    i.sequence_id,
    i.position,
    {{ vector }} as vector
from {{ weight }} as w
inner join {{ step_input }} as i on w.row_id = i.token_id
{%- endmacro %}

{# Of the weight, the condition lets ClickHouse read the rows that it names. #}
{% macro clickhouse__embedding(step_input, weight, vector) -%}
select
    i.sequence_id as sequence_id,
    i.position as position,
    {{ vector }} as vector
from {{ weight }} as w
inner join {{ step_input }} as i on w.row_id = i.token_id
where w.row_id in (select token_id from {{ step_input }})
{%- endmacro %}
