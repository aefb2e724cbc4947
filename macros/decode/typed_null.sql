{#
    NULL of a type, for the rows of a table to which a column does not apply. An expression.

    kind  `integer`, `real`, or `key`: what the cache's keys and values are
#}
{% macro typed_null(kind) -%}
    {{ return(adapter.dispatch('typed_null', 'relama')(kind)) }}
{%- endmacro %}

{% macro default__typed_null(kind) -%}
    {{- 'null' if kind == 'key' else 'cast(null as ' ~ kind ~ ')' -}}
{%- endmacro %}

{# Its arrays are never NULL. #}
{% macro clickhouse__typed_null(kind) -%}
    {%- if kind == 'key' -%}
cast([] as Array(Float32))
    {%- else -%}
cast(null as Nullable({{ {'integer': 'Int32', 'real': 'Float32'}[kind] }}))
    {%- endif -%}
{%- endmacro %}
