{# The state of a project: its tokens, and a cache of keys and values per layer. #}

{% macro state_relation(name) -%}
    {{ return(api.Relation.create(
        database=target.database, schema=target.schema, identifier=name, type='table'
    )) }}
{%- endmacro %}

{#
    What `dbt run` and `dbt build` begin with in the language model's own project: the
    state is there, and no step is left half done where this run takes one. Commands that
    only read change nothing. Another project, which has this one as a package, has no state.

    project   name of the language model's project
#}
{% macro begin_run(project) -%}
    {%- if execute and flags.WHICH in ['run', 'build', 'retry'] -%}
        {%- do relama.check_materializations(project) -%}
        {%- if project_name == project -%}
            {{ relama.create_state() }}
            {%- if 'model.' ~ project ~ '.step' in selected_resources -%}
                {{ relama.discard_partial_step() }}
            {%- endif -%}
        {%- endif -%}
    {%- endif -%}
{%- endmacro %}

{#
    Fails where the models of a package are not materialised as their files say: what the
    dbt_project.yml of the project that is run says of all models wins over these.
#}
{% macro check_materializations(project) -%}
    {%- set folders = {
        'weights': 'weight',
        'layers': relama.activation(),
        'batch': 'relama_function',
    } -%}
    {%- for node in graph.nodes.values() -%}
        {%- set right = folders.get(node.fqn[1]) -%}
        {%- if
            node.package_name == project
            and node.resource_type == 'model'
            and right and node.config.materialized != right
        -%}
            {%- do exceptions.raise_compiler_error(
                'relama: the model ' ~ node.name ~ ' of ' ~ project ~ ' must be materialized as '
                ~ right ~ ', not as ' ~ node.config.materialized ~ '; in dbt_project.yml, move '
                ~ '+materialized under the name of your own project, from `models:` to `models: '
                ~ project_name ~ ':`.'
            ) -%}
        {%- endif -%}
    {%- endfor -%}
{%- endmacro %}

{#
    Creates the state tables where they do not exist, with the prompt of the variable
    `relama_prompt_token_ids`.
#}
{% macro create_state() -%}
    {%- set tokens = relama.state_relation('tokens') -%}
    {%- set is_new = execute and not load_relation(tokens) -%}
    create schema if not exists {{ tokens.without_identifier() }};
    {%- for name, columns in relama.state_tables().items() %}
    create table if not exists {{ relama.state_relation(name) }} (
        {{ columns | indent(4) }}
    );
    {%- endfor %}
    {%- if is_new %}
    {{ relama.insert_prompt(var('relama_prompt_token_ids')) }}
    {%- endif %}
    {%- if execute -%}
        {#- dbt listed the relations before this hook: tell it of the new ones. -#}
        {%- for name in relama.state_tables() -%}
            {%- if not load_relation(relama.state_relation(name)) -%}
                {%- do adapter.cache_added(relama.state_relation(name)) -%}
            {%- endif -%}
        {%- endfor -%}
    {%- endif -%}
{%- endmacro %}

{# Adds a prompt, of which nothing has been read, as sequence 0. #}
{% macro insert_prompt(token_ids) -%}
    {%- if token_ids %}
    {%- do relama.check_prompt(token_ids) %}
    insert into {{ relama.state_relation('tokens') }} (
        sequence_id, position, token_id, is_prompt, has_read
    )
    values
        {%- for token_id in token_ids %}
        (0, {{ loop.index0 }}, {{ token_id }}, true, 0){{ ',' if not loop.last }}
        {%- endfor %};
    {%- endif -%}
{%- endmacro %}

{# Raises an error where a prompt is not a list of token ids that the model can read. #}
{% macro check_prompt(token_ids) -%}
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

{#
    The append to `tokens` is what commits a step. Where a step was interrupted
    before it, the rows that it had already appended to caches are removed, and the
    pages that hold such rows.
#}
{% macro discard_partial_step() -%}
    {%- set has_read -%}
coalesce((
        select s.has_read
        from ({{ relama.sequences(relama.state_relation('tokens')) | indent(8) }}) as s
        where s.sequence_id = k.sequence_id
    ), 0)
    {%- endset -%}
    {%- for name in relama.kv_cache_names() %}
    delete from {{ relama.state_relation(name) }} as k
    where k.position >= {{ has_read }};
    {%- endfor %}
    {%- for name in relama.kv_pages_names() %}
    delete from {{ relama.state_relation(name) }} as k
    where k.first_position + len(k.keys) > {{ has_read }};
    {%- endfor %}
{%- endmacro %}

{#
    Forgets all sequences and begins one with the given prompt:
    dbt run-operation set_prompt --args '{token_ids: [504, 3575]}'
#}
{% macro set_prompt(token_ids) -%}
    {%- if 'model.' ~ project_name ~ '.step' not in graph.nodes -%}
        {%- do exceptions.raise_compiler_error(
            "relama: set_prompt belongs to the project of a language model, and '" ~ project_name
            ~ "' is none; run it in the directory that `relama new` wrote."
        ) -%}
    {%- endif -%}
    {%- do relama.check_prompt(token_ids) -%}
    {%- set statements -%}
    begin;
    {%- for name in relama.state_tables() %}
    delete from {{ relama.state_relation(name) }};
    {%- endfor %}
    {{ relama.insert_prompt(token_ids) }}
    commit;
    {%- endset -%}
    {%- do run_query(relama.create_state()) -%}
    {#- Looking for the tables has begun a transaction. -#}
    {%- do adapter.commit() -%}
    {%- do run_query(statements) -%}
{%- endmacro %}
