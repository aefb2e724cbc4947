{# How many elements a list has. An expression. #}
{% macro _list_length(list) -%}
    {{ return(adapter.dispatch('_list_length', 'relama')(list)) }}
{%- endmacro %}

{% macro default___list_length(list) -%}
    array_length({{ list }}, 1)
{%- endmacro %}

{% macro duckdb___list_length(list) -%}
    len({{ list }})
{%- endmacro %}
