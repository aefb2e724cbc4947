{#
    What `dbt run` and `dbt build` begin with in the language model's own project: the
    state is there, and no step is left half done where this run takes one. Commands that
    only read change nothing. As a package of another project, it is refused: the package is in its
    folder `package`.

    project   name of the language model's project
#}
{% macro begin_run(project) -%}
    {%- if execute and flags.WHICH in ['run', 'build', 'retry'] -%}
        {%- if project_name == project -%}
            {%- do relama._check_materializations(project, {
                'weights': 'relama_weight', 'layers': relama.activation()
            }) -%}
            {%- set statements = relama._create_state() -%}
            {%- if 'model.' ~ project ~ '.step' in selected_resources -%}
                {%- set statements = statements ~ relama._discard_partial_step() -%}
            {%- endif -%}
            {{ statements }}
        {%- elif project != 'relama' -%}
            {%- do exceptions.raise_compiler_error(
                'relama: the folder of ' ~ project ~ ' that packages.yml names is a project to be '
                ~ 'run by itself; name its folder `package` instead, as in '
                ~ '- local: packages/' ~ project ~ '/package, and run dbt deps.'
            ) -%}
        {%- endif -%}
    {%- endif -%}
{%- endmacro %}

{#
    Fails where models are not materialised as their files say: what the dbt_project.yml of the
    project that is run says of all models wins over these.

    project  name of the language model's project
    right    materializations, by folder or name
#}
{% macro _check_materializations(project, right) -%}
    {%- for node in graph.nodes.values() if node.package_name == project -%}
        {%- set expected = right.get(node.name, right.get(node.fqn[1])) -%}
        {%- if
            node.resource_type == 'model' and expected and node.config.materialized != expected
        -%}
            {%- do exceptions.raise_compiler_error(
                'relama: the model ' ~ node.name ~ ' of ' ~ project ~ ' must be materialized as '
                ~ expected ~ ', not as ' ~ node.config.materialized ~ '; in dbt_project.yml, move '
                ~ '+materialized under the name of your own project, from `models:` to `models: '
                ~ project_name ~ ':`.'
            ) -%}
        {%- endif -%}
    {%- endfor -%}
{%- endmacro %}

{# The sequences of this project's state. A select. #}
{% macro _own_sequences() -%}
    {{ return(relama.sequences(
        relama._state_relation('tokens'), long_factors=relama._original_context() is not none
    )) }}
{%- endmacro %}

{#
    The append to `tokens` is what commits a step. Where a step was interrupted
    before it, the rows that it had already appended to caches are removed, and the
    pages that hold such rows.
#}
{% macro _discard_partial_step() -%}
    {{ return(adapter.dispatch('_discard_partial_step', 'relama')()) }}
{%- endmacro %}

{% macro default___discard_partial_step() -%}
    {{- relama._read_again() -}}
    {%- set has_read -%}
coalesce((
        select s.has_read
        from ({{ relama._own_sequences() | indent(8) }}) as s
        where s.sequence_id = k.sequence_id
    ), 0)
    {%- endset -%}
    {%- for name in relama._kv_cache_names() %}
    delete from {{ relama._state_relation(name) }} as k
    where k.position >= {{ has_read }};
    {%- endfor %}
    {%- for name in relama._kv_pages_names() %}
    delete from {{ relama._state_relation(name) }} as k
    where k.first_position + len(k.keys) > {{ has_read }};
    {%- endfor %}
{%- endmacro %}

{#
    The cache of a layer with a window keeps little more than the next position sees. Where tokens
    have been taken away since, and what the next one now sees is not there, all of the sequence is
    to be read again.
#}
{% macro _read_again() -%}
    {%- set tokens = relama._state_relation('tokens') -%}
    {%- set caches = relama._kv_cache_names() -%}
    {%- for window in var('relama_sliding_windows', []) %}
    {%- if window is not none %}
    {%- set cache = relama._state_relation(caches[loop.index0]) %}
    update {{ tokens }} set has_read = 0
    where sequence_id in (
        select s.sequence_id
        from ({{ relama.sequences(tokens) | indent(8) }}) as s
        left join {{ cache }} as k on s.sequence_id = k.sequence_id
        group by s.sequence_id, s.has_read
        having coalesce(min(k.position), s.has_read) > greatest(s.has_read + 1 - {{ window }}, 0)
    );
    {%- endif %}
    {%- endfor %}
{%- endmacro %}

{#
    A deletion that finds nothing would take longer than to see that there is nothing. One that
    another command was killed at goes on in the server, and comes first.
#}
{% macro clickhouse___discard_partial_step() -%}
    {%- set tokens = relama._state_relation('tokens') -%}
    {%- set pending -%}
        select count() from system.mutations
        where database = '{{ tokens.schema }}' and table in ('tokens', 'kv_cache') and not is_done
    {%- endset -%}
    {%- for _ in range(100) if relama._value(pending) -%}
        {%- do run_query('select sleep(0.1)') -%}
    {%- endfor -%}
    {%- for name in relama._kv_cache_names() -%}
        {%- set cache = relama._state_relation(name) -%}
        {%- set ahead -%}
            select
                k.sequence_id as sequence_id,
                any(coalesce(s.has_read, 0)) as has_read
            from {{ cache }} as k
            left join ({{ relama._own_sequences() | indent(12) }}) as s
                on k.sequence_id = s.sequence_id
            where k.position >= coalesce(s.has_read, 0)
            group by k.sequence_id
            settings join_use_nulls = 1
        {%- endset -%}
        {%- for row in relama._rows(ahead) -%}
            {%- do run_query(
                'delete from ' ~ cache ~ ' where sequence_id = ' ~ row[0]
                ~ ' and position >= ' ~ row[1]
            ) -%}
        {%- endfor -%}
    {%- endfor -%}
{%- endmacro %}
