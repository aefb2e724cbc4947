{#
    exp(x) of a number that is 0 or negative; 0 where it would be too small to
    matter. An expression.
#}
{% macro _exponential(x) -%}
    {{ return(adapter.dispatch('_exponential', 'relama')(x)) }}
{%- endmacro %}

{# PostgreSQL raises an error where a result is too small for its type. #}
{% macro default___exponential(x) -%}
    case when {{ x }} > -60 then exp(cast({{ x }} as double precision)) else 0 end
{%- endmacro %}

{% macro duckdb___exponential(x) -%}
    exp({{ x }})
{%- endmacro %}

{% macro clickhouse___exponential(x) -%}
    exp({{ x }})
{%- endmacro %}
