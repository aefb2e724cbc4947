{#
    What models have asked a language model, and what it cost: three relations in the schema of
    the target.

        relama_usage_log     what the materializations append to, with the answers themselves
        relama_usage         one row for each model and run
        relama_usage_by_day  one for each day, language model and model

    Statements that create them where they are not there.
#}
{% macro _create_usage() -%}
    {%- set log = relama._usage_relation('relama_usage_log') -%}
    {%- set sums -%}
    sum(rows_asked) as rows_asked,
    sum(rows_from_cache) as rows_from_cache,
    sum(rows_answered) as rows_answered,
    sum(rows_failed) as rows_failed,
    sum(prompt_tokens) as prompt_tokens,
    sum(prompt_tokens_not_shared) as prompt_tokens_not_shared,
    sum(completion_tokens) as completion_tokens,
    sum(seconds) as seconds
    {%- endset -%}
create schema if not exists {{ log.without_identifier() }};
create table if not exists {{ log }} (
    invocation_id varchar,
    logged_at timestamp with time zone,
    model varchar,
    language_model varchar,
    materialized varchar,
    storage varchar,
    kernels boolean,
    rows_asked bigint,
    rows_from_cache bigint,
    rows_answered bigint,
    rows_failed bigint,
    prompt_tokens bigint,
    prompt_tokens_not_shared bigint,
    completion_tokens bigint,
    seconds double
);
create view if not exists {{ relama._usage_relation('relama_usage') }} as
select
    invocation_id,
    model,
    language_model,
    materialized,
    storage,
    kernels,
    min(logged_at) as started_at,
    {{ sums | trim }}
from {{ log }}
group by invocation_id, model, language_model, materialized, storage, kernels;
create view if not exists {{ relama._usage_relation('relama_usage_by_day') }} as
select
    cast(logged_at as date) as day,
    language_model,
    model,
    count(distinct invocation_id) as runs,
    {{ sums | trim }}
from {{ log }}
group by cast(logged_at as date), language_model, model;
{%- endmacro %}

{% macro _usage_relation(name) -%}
    {{ return(api.Relation.create(
        database=target.database, schema=target.schema, identifier=name
    )) }}
{%- endmacro %}

{#
    The statement that appends to the log. Its seconds are those since the last one.

    counts  mapping of some of its columns to expressions
    source  what these read; none where they read nothing
#}
{% macro _used(job, counts, source=none) -%}
    {%- if job.get('has_levels') -%}
        {#- The prompts of its groups have been counted. -#}
        {%- set counts, source = {}, none -%}
    {%- endif -%}
    {%- set now = modules.datetime.datetime.now() -%}
    {%- set seconds = (now - job['logged']).total_seconds() -%}
    {%- do job.update({'logged': now}) -%}
    {%- set language_model = job['language_model'] -%}
insert into {{ relama._usage_relation('relama_usage_log') }}
select
    '{{ invocation_id }}' as invocation_id,
    now() as logged_at,
    {{ relama._text_literal(model.unique_id) }} as model,
    {{ relama._text_literal(language_model['package']) }} as language_model,
    '{{ model.config.materialized }}' as materialized,
    '{{ language_model['head_storage'] }}' as storage,
    {{ 'true' if language_model['native'] else 'false' }} as kernels,
    {%- for name in [
        'rows_asked', 'rows_from_cache', 'rows_answered', 'rows_failed', 'prompt_tokens',
        'prompt_tokens_not_shared', 'completion_tokens',
    ] %}
    {{ counts.get(name, 0) }} as {{ name }},
    {%- endfor %}
    {{ seconds }} as seconds
    {%- if source %}
from {{ source }}
    {%- endif %};
{%- endmacro %}

{# What the sequences of `finished` have cost. #}
{% macro _used_by_finished(job) -%}
    {{ return(relama._used(job, {
        'rows_answered': '(select count(*) from input_row as i where ' ~ relama._is_finished(job) ~ ')',
        'prompt_tokens': 'sum(r.prompt_tokens)',
        'prompt_tokens_not_shared': 'sum(r.prompt_tokens - ' ~ job['prefix'] ~ ')',
        'completion_tokens': 'sum(len(r.token_ids) - r.prompt_tokens)'
            if 'completion_tokens' in job['answers'] else 0,
    }, 'running as r inner join finished as f on r.sequence_id = f.sequence_id')) }}
{%- endmacro %}
