{# The state of a project: its tokens, and a cache of keys and values a layer. #}

{% macro state_relation(name) -%}
    {{ return(api.Relation.create(
        database=target.database, schema=target.schema, identifier=name, type='table'
    )) }}
{%- endmacro %}

{% macro kv_cache_names(num_hidden_layers=none) -%}
    {%- set names = [] -%}
    {%- for layer in range(num_hidden_layers or var('relama_num_hidden_layers')) -%}
        {%- do names.append('layer_' ~ '%02d' % layer ~ '__kv_cache') -%}
    {%- endfor -%}
    {{ return(names) }}
{%- endmacro %}

{% macro kv_pages_names(num_hidden_layers=none) -%}
    {%- set names = [] -%}
    {%- for layer in range(num_hidden_layers or var('relama_num_hidden_layers')) -%}
        {%- do names.append('layer_' ~ '%02d' % layer ~ '__kv_pages') -%}
    {%- endfor -%}
    {{ return(names) }}
{%- endmacro %}

{#
    Run at the start of every dbt command: creates the state tables where they do
    not exist, with the prompt of the variable `relama_prompt_token_ids`.
#}
{% macro create_state() -%}
    {%- set tokens = relama.state_relation('tokens') -%}
    create schema if not exists {{ tokens.without_identifier() }};
    {%- for name in relama.kv_cache_names() %}
    create table if not exists {{ relama.state_relation(name) }} (
        sequence_id integer, position integer, kv_head integer, key real[], value real[]
    );
    {%- endfor %}
    {%- for name in relama.kv_pages_names() %}
    create table if not exists {{ relama.state_relation(name) }} (
        sequence_id integer, kv_head integer, first_position integer,
        keys real[][], dimensions real[][]
    );
    {%- endfor %}
    {%- if execute and not load_relation(tokens) %}
    create table {{ tokens }} (
        sequence_id integer, position integer, token_id integer, is_prompt boolean, logprob real
    );
    {{ relama.insert_prompt(var('relama_prompt_token_ids')) }}
    {%- endif %}
    {%- if execute -%}
        {#- dbt listed the relations before this hook: tell it of the new ones. -#}
        {%- for name in relama.kv_cache_names() + relama.kv_pages_names() + ['tokens'] -%}
            {%- if not load_relation(relama.state_relation(name)) -%}
                {%- do adapter.cache_added(relama.state_relation(name)) -%}
            {%- endif -%}
        {%- endfor -%}
    {%- endif -%}
{%- endmacro %}

{% macro insert_prompt(token_ids) -%}
    {%- if token_ids %}
    insert into {{ relama.state_relation('tokens') }}
    values
        {%- for token_id in token_ids %}
        (0, {{ loop.index0 }}, {{ token_id | int }}, true, null){{ ',' if not loop.last }}
        {%- endfor %};
    {%- endif -%}
{%- endmacro %}

{#
    The append to `tokens` is what commits a step. Where a step was interrupted
    before it, the rows that it had already appended to caches are removed, and the
    pages that hold such rows.
#}
{% macro discard_partial_step() -%}
    {%- set tokens = relama.state_relation('tokens') -%}
    {%- for name in relama.kv_cache_names() %}
    delete from {{ relama.state_relation(name) }} as k
    where k.position >= coalesce((
        select max(t.position) from {{ tokens }} as t
        where t.sequence_id = k.sequence_id and t.logprob is not null
    ), 0);
    {%- endfor %}
    {%- for name in relama.kv_pages_names() %}
    delete from {{ relama.state_relation(name) }} as k
    where k.first_position + len(k.keys) > coalesce((
        select max(t.position) from {{ tokens }} as t
        where t.sequence_id = k.sequence_id and t.logprob is not null
    ), 0);
    {%- endfor %}
{%- endmacro %}

{#
    Forgets all sequences and begins one with the given prompt:
    dbt run-operation set_prompt --args '{token_ids: [504, 3575]}'
#}
{% macro set_prompt(token_ids) -%}
    {%- set statements -%}
    begin;
    delete from {{ relama.state_relation('tokens') }};
    {%- for name in relama.kv_cache_names() + relama.kv_pages_names() %}
    delete from {{ relama.state_relation(name) }};
    {%- endfor %}
    {{ relama.insert_prompt(token_ids) }}
    commit;
    {%- endset -%}
    {%- do run_query(relama.create_state()) -%}
    {%- do run_query(statements) -%}
{%- endmacro %}
