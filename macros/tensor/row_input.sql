{#
    A hidden state as the rows of a storage are multiplied with it. An expression.

    vector   a list of real
    storage  one that has rows
#}
{% macro _row_input(vector, storage) -%}
    {{ return(adapter.dispatch('_row_input', 'relama')(vector, storage)) }}
{%- endmacro %}

{% macro default___row_input(vector, storage) -%}
    {{ vector }}
{%- endmacro %}

{% macro postgres___row_input(vector, storage) -%}
    {{ vector if storage == 'float32' else 'cast(' ~ vector ~ ' as ' ~ storage ~ ')' }}
{%- endmacro %}
