{#
    Forgets all sequences and begins one with the given prompt.

        dbt run-operation set_prompt --args '{token_ids: [504, 3575]}'

    token_ids  list of token ids
#}
{% macro set_prompt(token_ids) -%}
    {%- if 'model.' ~ project_name ~ '.step' not in graph.nodes -%}
        {%- do exceptions.raise_compiler_error(
            "relama: set_prompt belongs to the project of a language model, and '" ~ project_name
            ~ "' is none; run it in the directory that `relama new` wrote."
        ) -%}
    {%- endif -%}
    {%- do relama._check_prompt(token_ids) -%}
    {{ return(adapter.dispatch('_replace_state', 'relama')(token_ids)) }}
{%- endmacro %}

{% macro default___replace_state(token_ids) -%}
    {%- set statements -%}
    begin;
    {%- for name in relama._state_tables() %}
    delete from {{ relama._state_relation(name) }};
    {%- endfor %}
    {{ relama._insert_prompt(token_ids) }}
    commit;
    {%- endset -%}
    {%- do run_query(relama._create_state()) -%}
    {#- Looking for the tables has begun a transaction. -#}
    {%- do adapter.commit() -%}
    {%- do run_query(statements) -%}
{%- endmacro %}

{# What the tokens do not say has been read is not there: they go first. #}
{% macro clickhouse___replace_state(token_ids) -%}
    {%- do relama._create_state() -%}
    {%- for name in relama._state_tables() -%}
        {%- do run_query('truncate table ' ~ relama._state_relation(name)) -%}
    {%- endfor -%}
    {%- do run_query(relama._insert_prompt(token_ids)) -%}
{%- endmacro %}
