{#
    Limits the memory that the database takes for the rest of the run, by its own count.
    Without a limit, nothing is set.

    limit   a size such as '1500MB', or none
#}
{% macro limit_memory(limit) -%}
    {{ return(adapter.dispatch('limit_memory', 'relama')(limit)) }}
{%- endmacro %}

{% macro default__limit_memory(limit) -%}
    {%- if limit -%}
        {%- do exceptions.raise_compiler_error(
            'limit_memory: ' ~ target.type ~ ' has no memory limit of its own; '
            ~ 'leave the variable relama_memory_limit empty.'
        ) -%}
    {%- endif -%}
{%- endmacro %}

{# https://duckdb.org/docs/stable/configuration/overview #}
{% macro duckdb__limit_memory(limit) -%}
    {%- if limit %}set memory_limit = '{{ limit }}'{% endif -%}
{%- endmacro %}
