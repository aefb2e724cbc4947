{#
    The condition of a join on columns that both sides have. An expression.

    left, right   aliases of the two relations
    columns       list of column names
    single_token  whether each side has one row for the columns, see `single_token`
#}
{% macro _same(left, right, columns, single_token=false) -%}
    {{ return(adapter.dispatch('_same', 'relama')(left, right, columns, single_token)) }}
{%- endmacro %}

{% macro default___same(left, right, columns, single_token=false) -%}
    {%- for column in columns -%}
        {{ left }}.{{ column }} = {{ right }}.{{ column }}
        {%- if not loop.last %} and {% endif -%}
    {%- endfor -%}
{%- endmacro %}

{# With a single token there is nothing to tell apart. A hash join would cost 200 us. #}
{% macro duckdb___same(left, right, columns, single_token=false) -%}
    {%- if single_token -%}
        true
    {%- else -%}
        {{ relama.default___same(left, right, columns) }}
    {%- endif -%}
{%- endmacro %}
