{#
    Begins a model that a language model answers: the rows of its query become the temporary
    table `asked_row`, and the prompts that a chat template is to be put around `chat_prompt`,
    see `_render_chat`.

    Returns a mapping: the language model, and the columns as `_close_rows` needs them.

    asks     the columns that are asked about: prompt, and target for a score
    answers  mapping of the columns that an answer has, to their types
    settings mapping of everything else that an answer depends on
    computed mapping of columns that are made of the answer, and not stored, to their types
#}
{% macro _ask_rows(asks, answers, settings, computed={}) -%}
    {%- if target.type != 'duckdb' -%}
        {{ relama._unsupported('the materialization ' ~ config.get('materialized')) }}
    {%- endif -%}
    {%- set began = modules.datetime.datetime.now() -%}
    {{ run_hooks(pre_hooks, inside_transaction=False) }}
    {{ run_hooks(pre_hooks, inside_transaction=True) }}
    {%- do adapter.commit() -%}
    {%- set language_model = relama._language_model() -%}
    {%- if load_cached_relation(language_model['head']) is none -%}
        {%- set needed = relama._package_node(language_model['package'], 'forward_pass').unique_id -%}
        {%- do exceptions.raise_compiler_error(
            model.name ~ ': the language model ' ~ language_model['package'] ~ ' is not built. ' ~ (
                'Build it with: dbt build --select package:' ~ language_model['package']
                if needed in model.depends_on.nodes
                else "Let dbt know that this model needs it, with the line -- depends_on: {{ ref('"
                ~ language_model['package'] ~ "', 'forward_pass') }}"
            )
        ) -%}
    {%- endif -%}
    {%- do relama._check_built(language_model) -%}
    {%- do language_model.update({'native': relama._is_native(language_model)}) -%}
    {%- do relama._open_query() -%}
    {%- set on_error = relama._on_error() -%}
    {%- if on_error == 'capture' -%}
        {%- do answers.update({'error': 'varchar'}) -%}
    {%- endif -%}
    {%- set columns = relama._check_columns(asks, answers | list + computed | list) -%}
    {%- set job = {
        'began': began,
        'logged': began,
        'on_error': on_error,
        'failed': 0,
        'done': 0,
        'left_out': 0,
        'is_stopped': false,
        'language_model': language_model,
        'columns': columns,
        'asks': asks,
        'answers': answers | list,
        'types': answers,
        'computed': computed,
        'relation': this.incorporate(type='table'),
        'key': relama._unique_key(),
        'things': 'rows',
    } -%}
    {%- do job.update(relama._batch_settings()) -%}
    {%- if settings['chat'] -%}
        {%- do relama._open_chat(job, settings) -%}
    {%- endif -%}
    {{ return(job) }}
{%- endmacro %}

{#
    Goes on where the prompts have been rendered: `input_row` is `asked_row` with `relama_hash`,
    a digest of what is asked, of the language model and of the settings: NULL where nothing is
    asked. The table of the model is created, or brought up to the query where its rows have been
    answered before. What is left is in `request`, one row a digest.
#}
{% macro _open_rows(job, settings) -%}
    {%- set language_model = job['language_model'] -%}
    {%- if settings['chat'] -%}
        {%- do relama._check_chat(job, settings) -%}
    {%- endif -%}
    {%- set fingerprint = relama._fingerprint(language_model, settings) -%}
    {%- set hashed = [] -%}
    {%- for ask in job['asks'] -%}
        {%- set text = "nullif(cast(a." ~ ask ~ " as varchar), '')" -%}
        {%- if ask == 'prompt' and settings['chat'] -%}
            {#- A template that refuses a prompt has made nothing of it. -#}
            {%- set text = 'if(c.error is null, c.body, c.prompt)' -%}
        {%- endif -%}
        {%- do hashed.append('md5(' ~ text ~ ')') -%}
    {%- endfor -%}
    {%- call relama._run() -%}
create or replace temporary table input_row as
select
    a.*,
    md5('{{ fingerprint }}:' || {{ hashed | join(" || ") }}) as relama_hash
from asked_row as a
    {%- if settings['chat'] %}
left join chat_text as c on cast(a.prompt as varchar) = c.prompt
    {%- endif %}
order by a.rowid
    {%- endcall -%}
    {%- do relama._check_keys() -%}
    {%- set asks, answers = job['asks'], job['types'] -%}
    {%- if not job.get('is_level') -%}
        {%- do relama._check_contract(dict(answers, **job['computed'])) -%}
    {%- endif -%}
    {%- do relama._open_answers(job, answers) -%}
    {%- call relama._run() -%}
create or replace temporary table failed (relama_hash varchar, error varchar);
create or replace temporary table request as
select
    relama_hash,
    cast('0x' || substr(relama_hash, 1, 15) as bigint) as sequence_id,
    {%- for ask in asks %}
    any_value(cast({{ ask }} as varchar)) as {{ ask }},
    {%- endfor %}
    row_number() over (order by min(place)) - 1 as place
from (
    select
        relama_hash,
        {{ asks | join(', ') }},
        row_number() over () as place
    from input_row
) as asked
where relama_hash is not null and relama_hash not in (select relama_hash from answer)
group by relama_hash
    {%- endcall -%}
    {%- if settings['chat'] -%}
        {%- do relama._fail_rows(job, 'request', relama._refused_chats(settings, 'request', 'prompt')) -%}
    {%- endif -%}
    {%- do job.update({'waiting': relama._value('select count(*) from request')}) -%}
{%- endmacro %}

{# A digest of what all answers of a model depend on. #}
{% macro _fingerprint(language_model, settings) -%}
    {%- set depends_on = dict(settings) -%}
    {#- A row's digest has the text that the template makes with them. -#}
    {%- do depends_on.pop('template_args') -%}
    {%- do depends_on.pop('template_date') -%}
    {{ return(local_md5(
        [
            model.config.materialized,
            language_model['identity'],
            depends_on,
        ] | string
    )) }}
{%- endmacro %}

{#
    Runs the statements of a call block on the node's connection, outside of any
    transaction of dbt's.

        {% call relama._run() %} delete from tokens {% endcall %}
#}
{% macro _run() -%}
    {%- do adapter.execute(caller(), auto_begin=false, fetch=false) -%}
{%- endmacro %}

{# The rows of a query. #}
{% macro _rows(query) -%}
    {%- set response, found = adapter.execute(query, auto_begin=false, fetch=true) -%}
    {{ return(found.rows) }}
{%- endmacro %}

{# The one value of a query. #}
{% macro _value(query) -%}
    {{ return(relama._rows(query)[0][0]) }}
{%- endmacro %}

{#
    Fails where the tables of a language model are not those of the project that was written
    last: the answers of some new and some old weights would look like any others.
#}
{% macro _check_built(language_model) -%}
    {%- set comments = relama._table_comments() -%}
    {%- set package = language_model['package'] -%}
    {%- set weights = relama._package_node(package, 'weights') -%}
    {%- set tables = [] -%}
    {%- for table in weights.config.meta['tables'] -%}
        {%- do tables.append(relama._sibling(relama._node_relation(weights), table.name)) -%}
    {%- endfor -%}
    {%- for name in ['vocabulary', 'merges', 'alphabet'] -%}
        {%- do tables.append(relama._package_relation(package, name)) -%}
    {%- endfor -%}
    {%- for table in tables -%}
        {%- if comments.get(relama._place(table), '').split(':')[-1] != language_model['written'] -%}
            {%- do exceptions.raise_compiler_error(
                model.name ~ ': the language model ' ~ package
                ~ ' is not built as it was written last: the table ' ~ table.identifier
                ~ ' is missing or older. Build it with: dbt build --select package:' ~ package
            ) -%}
        {%- endif -%}
    {%- endfor -%}
{%- endmacro %}

{#
    The rows of the query, as the temporary table `asked_row`. With dbt's flag --empty there
    are none: the query would ask about tables that it sees without their rows.
#}
{% macro _open_query() -%}
    {%- if config.get('sql_header') -%}
        {%- call relama._run() -%} {{ config.get('sql_header') }} {%- endcall -%}
    {%- endif -%}
    {%- call relama._run() -%}
create or replace temporary table asked_row as {{ sql }}
    {%- endcall -%}
    {%- if flags.EMPTY -%}
        {%- call relama._run() -%} delete from asked_row {%- endcall -%}
    {%- endif -%}
{%- endmacro %}

{#
    The query's columns; clear sentences where it lacks one, has one twice, or has one of
    the answer's.
#}
{% macro _check_columns(asks, answers) -%}
    {%- set columns = [] -%}
    {%- for row in relama._rows('describe asked_row') -%}
        {%- do columns.append(
            {'name': row[0], 'quoted': relama._quoted(row[0]), 'type': row[1]}
        ) -%}
    {%- endfor -%}
    {%- set names = columns | map(attribute='name') | map('lower') | list -%}
    {#- DuckDB gives a column that is there twice another name in a table. -#}
    {%- for row in relama._rows('describe ' ~ sql) -%}
        {%- if row[0] != columns[loop.index0]['name'] -%}
            {%- do exceptions.raise_compiler_error(
                model.name ~ ": its query has two columns '" ~ row[0] ~ "'; give one of them "
                ~ 'another name.'
            ) -%}
        {%- endif -%}
    {%- endfor -%}
    {%- for ask in asks -%}
        {%- if ask not in names -%}
            {%- do exceptions.raise_compiler_error(
                model.name ~ ": its query must have a column '" ~ ask ~ "'; it has "
                ~ names | join(', ') ~ '.'
            ) -%}
        {%- endif -%}
    {%- endfor -%}
    {%- do relama._check_names(names, answers + ['relama_hash']) -%}
    {%- set quoted = columns | map(attribute='quoted') | map('lower') | list -%}
    {%- for name in relama._unique_key() if name | lower not in quoted -%}
        {%- do exceptions.raise_compiler_error(
            model.name ~ ': the unique_key ' ~ name ~ ' is not a column of its query, which has '
            ~ names | join(', ') ~ '.'
        ) -%}
    {%- endfor -%}
    {{ return(columns) }}
{%- endmacro %}

{# Fails where a column of the query, in lower case, has the name of one of the answer. #}
{% macro _check_names(names, answers) -%}
    {%- for answer in answers -%}
        {%- set name = relama._unquoted(answer) -%}
        {%- if name | lower in names -%}
            {%- do exceptions.raise_compiler_error(
                model.name ~ ": '" ~ name ~ "' is a column of the answer; give the column of "
                ~ 'the query another name.'
            ) -%}
        {%- endif -%}
    {%- endfor -%}
{%- endmacro %}

{# A name of a column as SQL has it, whatever it is. #}
{% macro _quoted(name) -%}
    {{ return('"' ~ name | replace('"', '""') ~ '"') }}
{%- endmacro %}

{# The name of a column of an answer, which may be quoted. #}
{% macro _unquoted(name) -%}
    {{ return(name[1:-1] | replace('""', '"') if name.startswith('"') else name) }}
{%- endmacro %}

{# The columns of the config `unique_key`, quoted. #}
{% macro _unique_key() -%}
    {{ return(relama._quoted_names(relama._texts_setting('unique_key'))) }}
{%- endmacro %}

{# Names of columns in a config, which may be quoted there; here they are. #}
{% macro _quoted_names(names) -%}
    {%- set quoted = [] -%}
    {%- for name in names -%}
        {%- set is_quoted = (
            name | length > 2 and name.startswith('"') and name.endswith('"')
            and '"' not in name[1:-1].replace('""', '')
        ) -%}
        {%- do quoted.append(name if is_quoted else relama._quoted(name)) -%}
    {%- endfor -%}
    {{ return(quoted) }}
{%- endmacro %}

{# A unique key is never NULL and never twice the same. #}
{% macro _check_keys() -%}
    {%- set key = relama._unique_key() -%}
    {%- if key -%}
        {%- set list = key | join(', ') -%}
        {%- set wrong -%}
select
    {{ list }},
    count(*)
from input_row
group by {{ list }}
having count(*) > 1 or {{ key | join(' is null or ') }} is null
order by count(*) desc, {{ list }}
limit 1
        {%- endset -%}
        {%- set found = relama._rows(wrong) -%}
        {%- if found | length -%}
            {%- set texts = found[0].values() | list -%}
            {%- do exceptions.raise_compiler_error(
                model.name ~ ': the unique_key ' ~ list ~ ' is ' ~ (
                    (texts[:-1] | join(', ')) ~ ' in ' ~ texts[-1] ~ ' rows.'
                    if none not in texts else 'NULL in a row.'
                )
            ) -%}
        {%- endif -%}
    {%- endif -%}
{%- endmacro %}

{#
    An enforced contract names the columns of the table, those of the query and those of the
    answer, of which it may leave out `relama_hash`.
#}
{% macro _check_contract(answers) -%}
    {%- if config.get('contract').enforced -%}
        {%- set listed = model.columns.values() | map(attribute='name') | map('lower') | list -%}
        {%- set answered = relama._answered_columns(answers) -%}
        {%- set columns -%}
{{ answered if 'relama_hash' in listed else 'select * exclude (relama_hash) from (' ~ answered ~ ')' }}
        {%- endset -%}
        {%- do get_assert_columns_equivalent(columns) -%}
        {%- set constrained = model.columns.values() | selectattr('constraints') | list -%}
        {%- if constrained or model.constraints -%}
            {%- do exceptions.warn(
                model.name ~ ': the constraints of its contract are not enforced; use data tests.'
            ) -%}
        {%- endif -%}
    {%- endif -%}
{%- endmacro %}
