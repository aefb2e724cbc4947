{#
    The condition of a join on columns that both sides have. An expression.

    left, right  aliases of the two relations
    columns      list of column names
#}
{% macro same(left, right, columns) -%}
    {{ return(adapter.dispatch('same', 'relama')(left, right, columns)) }}
{%- endmacro %}

{% macro default__same(left, right, columns) -%}
    {%- for column in columns -%}
        {{ left }}.{{ column }} = {{ right }}.{{ column }}
        {%- if not loop.last %} and {% endif -%}
    {%- endfor -%}
{%- endmacro %}

{#
    A step that decodes reads one token of one sequence: every relation has one row
    for it, and there is nothing to tell apart. A hash join would cost 200 us.
#}
{% macro duckdb__same(left, right, columns) -%}
    {%- if var('relama_decode', false) -%}
        true
    {%- else -%}
        {{ relama.default__same(left, right, columns) }}
    {%- endif -%}
{%- endmacro %}
