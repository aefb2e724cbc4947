{# The state of a project: its tokens, and a cache of keys and values per layer. #}

{% macro _state_relation(name) -%}
    {{ return(api.Relation.create(
        database=target.database or none, schema=target.schema, identifier=name, type='table'
    )) }}
{%- endmacro %}

{#
    Creates the state tables where they do not exist, with the prompt of the variable
    `relama_prompt_token_ids`: statements, or nothing where the database takes one at a time,
    and they have been run.
#}
{% macro _create_state() -%}
    {{ return(adapter.dispatch('_create_state', 'relama')()) }}
{%- endmacro %}

{% macro default___create_state() -%}
    {%- set tokens = relama._state_relation('tokens') -%}
    {%- set is_new = execute and not load_relation(tokens) -%}
    create schema if not exists {{ relama._schema_of(tokens) }};
    {%- for name, columns in relama._state_tables().items() %}
    create table if not exists {{ relama._state_relation(name) }} (
        {{ columns | indent(4) }}
    );
    {%- endfor %}
    {%- if is_new %}
    {{ relama._insert_prompt(var('relama_prompt_token_ids')) }}
    {%- endif %}
    {%- do relama._add_state_to_cache() -%}
{%- endmacro %}

{% macro clickhouse___create_state() -%}
    {%- if execute -%}
        {%- set tokens = relama._state_relation('tokens') -%}
        {%- set is_new = not load_relation(tokens) -%}
        {%- do run_query('create database if not exists ' ~ relama._schema_of(tokens)) -%}
        {%- for name, columns in relama._state_tables().items() -%}
            {%- do run_query(
                'create table if not exists ' ~ relama._state_relation(name) ~ ' (' ~ columns
                ~ ') engine = MergeTree'
            ) -%}
        {%- endfor -%}
        {%- if is_new and var('relama_prompt_token_ids') -%}
            {%- do run_query(relama._insert_prompt(var('relama_prompt_token_ids'))) -%}
        {%- endif -%}
        {%- do relama._add_state_to_cache() -%}
    {%- endif -%}
{%- endmacro %}

{# dbt listed the relations before the hook that creates the state: tells it of the new ones. #}
{% macro _add_state_to_cache() -%}
    {%- if execute -%}
        {%- for name in relama._state_tables() -%}
            {%- if not load_relation(relama._state_relation(name)) -%}
                {%- do adapter.cache_added(relama._state_relation(name)) -%}
            {%- endif -%}
        {%- endfor -%}
    {%- endif -%}
{%- endmacro %}

{# The schema of a relation, as a statement that creates it writes it. #}
{% macro _schema_of(relation) -%}
    {{ return(adapter.dispatch('_schema_of', 'relama')(relation)) }}
{%- endmacro %}

{% macro default___schema_of(relation) -%}
    {{ relation.without_identifier().include(database=false) }}
{%- endmacro %}

{% macro clickhouse___schema_of(relation) -%}
    {{ relation.without_identifier() }}
{%- endmacro %}

{% macro duckdb___schema_of(relation) -%}
    {{ relation.without_identifier() }}
{%- endmacro %}

{# Adds a prompt, of which nothing has been read, as sequence 0. #}
{% macro _insert_prompt(token_ids) -%}
    {%- if token_ids %}
    {%- do relama._check_prompt(token_ids) %}
    {%- set context = relama._original_context() %}
    insert into {{ relama._state_relation('tokens') }} (
        sequence_id, position, token_id, is_prompt, has_read{{ ', is_long' if context }}
    )
    values
        {%- for token_id in token_ids %}
        (0, {{ loop.index0 }}, {{ token_id }}, true, 0
        {{- ', ' ~ (token_ids | length > context) | lower if context }}){{ ',' if not loop.last }}
        {%- endfor %};
    {%- endif -%}
{%- endmacro %}

{# Raises an error where a prompt is not a list of token ids that the model can read. #}
{% macro _check_prompt(token_ids) -%}
    {%- set size = var('relama_vocab_size') -%}
    {%- set context = var('relama_max_position_embeddings') -%}
    {%- set problem = namespace(text='') -%}
    {%- if token_ids is string or token_ids is mapping or token_ids is not iterable -%}
        {%- set problem.text = 'must be a list of token ids, not ' ~ (token_ids | tojson) -%}
    {%- elif token_ids | length == 0 -%}
        {%- set problem.text = 'must hold at least one token id' -%}
    {%- elif token_ids | length > context -%}
        {%- set problem.text = 'has ' ~ (token_ids | length) ~ ' token ids, more than the context of '
            ~ context -%}
    {%- else -%}
        {%- for token_id in token_ids -%}
            {%- if
                token_id is boolean or token_id is not integer
                or token_id < 0 or token_id >= size
            -%}
                {%- set problem.text = 'holds ' ~ (token_id | string) ~ ', which is not a token id: '
                    ~ 'those of this model are whole numbers from 0 to ' ~ (size - 1) -%}
            {%- endif -%}
        {%- endfor -%}
    {%- endif -%}
    {%- if problem.text -%}
        {%- do exceptions.raise_compiler_error('relama: the prompt ' ~ problem.text ~ '.') -%}
    {%- endif -%}
{%- endmacro %}
