{#
    The embedding of every token of this step: row `token_id` of the weight.
    A select of (sequence_id, position, vector).

    step_input  relation (sequence_id, position, token_id)
    weight      relation of row_id and the columns of the storage
    storage     one that has rows: float32, int8 or int567
#}
{% macro embedding(step_input, weight, storage='float32') -%}
    {{ return(adapter.dispatch('embedding', 'relama')(step_input, weight, storage)) }}
{%- endmacro %}

{% macro default__embedding(step_input, weight, storage) -%}
select
    i.sequence_id,
    i.position,
    {{ relama._dequantized('w', storage) }} as vector
from {{ weight }} as w
inner join {{ step_input }} as i on w.row_id = i.token_id
{%- endmacro %}

{# Of the weight, the condition lets ClickHouse read the rows that it names. #}
{% macro clickhouse__embedding(step_input, weight, storage) -%}
select
    i.sequence_id as sequence_id,
    i.position as position,
    {{ relama._dequantized('w', storage) }} as vector
from {{ weight }} as w
inner join {{ step_input }} as i on w.row_id = i.token_id
where w.row_id in (select token_id from {{ step_input }})
{%- endmacro %}
