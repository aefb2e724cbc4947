{#
    The tables of the state, for a project of its own and for a batch alike: a mapping of
    their names to the definitions of their columns.

    num_hidden_layers  layers of the model; none for those of this project
    long_factors       whether rotary embedding has two sets of factors; none for that of this
                       project
#}
{% macro _state_tables(num_hidden_layers=none, long_factors=none) -%}
    {%- if long_factors is none -%}
        {%- set long_factors = relama._original_context() is not none -%}
    {%- endif -%}
    {%- set tables = {'tokens': relama._tokens_columns(long_factors)} -%}
    {%- for name in relama._kv_cache_names(num_hidden_layers) -%}
        {%- do tables.update({name: relama._kv_cache_columns()}) -%}
    {%- endfor -%}
    {%- for name in relama._kv_pages_names(num_hidden_layers) -%}
        {%- do tables.update({name: relama._kv_pages_columns()}) -%}
    {%- endfor -%}
    {{ return(tables) }}
{%- endmacro %}

{#
    has_read  how many tokens of the sequence had been read when this one was added, at most
              its position; see `sequences`
    logprob   NULL where no step has scored the token
    is_long   for long_factors: whether the sequence, with this token and all of a prompt that it
              belongs to, is longer than the original context
#}
{% macro _tokens_columns(long_factors) -%}
    {{ return(adapter.dispatch('_tokens_columns', 'relama')(long_factors)) }}
{%- endmacro %}

{#
    Tokens up to which the rotary embedding of this project's model has short factors, and from
    there on long ones; none where there is one set of them.
#}
{% macro _original_context() -%}
    {{ return(var('relama_original_max_position_embeddings', none)) }}
{%- endmacro %}

{# Two commands that continue a sequence at once must not both append to it. #}
{% macro default___tokens_columns(long_factors) -%}
    {{ relama.duckdb___tokens_columns(long_factors) }}, primary key (sequence_id, position)
{%- endmacro %}

{% macro duckdb___tokens_columns(long_factors) -%}
    sequence_id bigint, position integer, token_id integer, is_prompt boolean,
    has_read integer, logprob real{{ ', is_long boolean' if long_factors }}
{%- endmacro %}

{% macro clickhouse___tokens_columns(long_factors) -%}
    sequence_id Int64, position Int32, token_id Int32, is_prompt Bool, has_read Int32,
    logprob Nullable(Float32),{{ ' is_long Bool,' if long_factors }} primary key (sequence_id, position)
{%- endmacro %}

{% macro _kv_cache_columns() -%}
    {{ return(adapter.dispatch('_kv_cache_columns', 'relama')()) }}
{%- endmacro %}

{# One table of all layers. #}
{% macro default___kv_cache_columns() -%}
    layer integer, sequence_id bigint, position integer, kv_head integer,
    key {{ relama._vector_type() }}, value {{ relama._vector_type() }},
    primary key (layer, sequence_id, kv_head, position)
{%- endmacro %}

{% macro duckdb___kv_cache_columns() -%}
    sequence_id bigint, position integer, kv_head integer, key real[], value real[]
{%- endmacro %}

{# Floating-point numbers compress little, and are read every step. #}
{% macro clickhouse___kv_cache_columns() -%}
    layer Int32, sequence_id Int64, position Int32, kv_head Int32,
    key Array(Float32) codec(NONE), value Array(Float32) codec(NONE),
    primary key (layer, sequence_id, kv_head, position)
{%- endmacro %}

{# A page without a sequence_id is one of every sequence. #}
{% macro _kv_pages_columns() -%}
    sequence_id bigint, kv_head integer, first_position integer,
    keys real[][], dimensions real[][]
{%- endmacro %}

{# Names of the tables of keys and values: one of each layer, or one of all. #}
{% macro _kv_cache_names(num_hidden_layers=none) -%}
    {{ return(adapter.dispatch('_kv_cache_names', 'relama')(num_hidden_layers)) }}
{%- endmacro %}

{% macro default___kv_cache_names(num_hidden_layers) -%}
    {{ return(['kv_cache']) }}
{%- endmacro %}

{% macro duckdb___kv_cache_names(num_hidden_layers) -%}
    {{ return(relama._layer_names('kv_cache', num_hidden_layers)) }}
{%- endmacro %}

{# Names of the tables of pages, where the database has them. #}
{% macro _kv_pages_names(num_hidden_layers=none) -%}
    {{ return(adapter.dispatch('_kv_pages_names', 'relama')(num_hidden_layers)) }}
{%- endmacro %}

{% macro default___kv_pages_names(num_hidden_layers) -%}
    {{ return([]) }}
{%- endmacro %}

{% macro duckdb___kv_pages_names(num_hidden_layers) -%}
    {{ return(relama._layer_names('kv_pages', num_hidden_layers)) }}
{%- endmacro %}

{% macro _layer_names(base, num_hidden_layers=none) -%}
    {%- set names = [] -%}
    {%- for layer in range(num_hidden_layers or var('relama_num_hidden_layers')) -%}
        {%- do names.append('layer_' ~ '%02d' % layer ~ '__' ~ base) -%}
    {%- endfor -%}
    {{ return(names) }}
{%- endmacro %}
