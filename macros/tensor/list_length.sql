{# How many elements a list has. An expression. #}
{% macro list_length(list) -%}
    {{ return(adapter.dispatch('list_length', 'relama')(list)) }}
{%- endmacro %}

{% macro default__list_length(list) -%}
    array_length({{ list }}, 1)
{%- endmacro %}

{% macro duckdb__list_length(list) -%}
    len({{ list }})
{%- endmacro %}
