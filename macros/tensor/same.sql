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
    Where a step reads one token of each sequence, both sides have a handful of
    rows. A hash join then costs 200 us, of which nothing is joining. Written as a
    difference, DuckDB compares every pair instead: 50 us.
#}
{% macro duckdb__same(left, right, columns) -%}
    {%- if var('decode', false) -%}
        {%- for column in columns -%}
            {{ left }}.{{ column }} - {{ right }}.{{ column }} = 0
            {%- if not loop.last %} and {% endif -%}
        {%- endfor -%}
    {%- else -%}
        {{ relama.default__same(left, right, columns) }}
    {%- endif -%}
{%- endmacro %}
