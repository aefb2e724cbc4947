{#
    The form that a completion has: the setting `regex` or `json_schema`, or `fields`, whose types
    are SQL's. `settings` gets `form`, a mapping (name of the setting, and `expression`, a regular
    expression of Rust), and nothing where there is none; and `columns` where fields become columns, a list of
    mappings (quoted, type, expression over `t.body`).

    Two Python jobs do it: one reads the form, before anything is asked, and one makes transitions
    over tokens of it, where there is something to ask. What they find stands in the temporary table
    `answer_form`.

        {% call statement('form', language='python') %}{{ relama._read_form(settings) }}{% endcall %}
        {% do relama._close_form(settings) %}
#}
{% macro _open_form(settings, with_columns=false) -%}
    {%- set names = ['fields', 'json_schema'] if with_columns else ['regex', 'json_schema'] -%}
    {%- set given = [] -%}
    {%- for name in names if relama._form_setting(name) is not none -%}
        {%- do given.append(name) -%}
    {%- endfor -%}
    {%- if with_columns and given | length != 1 -%}
        {%- do exceptions.raise_compiler_error(
            model.name ~ ': ' ~ (
                'fields must be absent where json_schema is given.' if given
                else "fields must be a mapping from fields to types, such as {'due': 'date'}, "
                    ~ 'or json_schema a JSON schema.'
            )
        ) -%}
    {%- endif -%}
    {%- if given -%}
        {%- for name in ['allowed', 'grammar', 'stop'] if settings[name] -%}
            {%- do relama._bad_setting(name, settings[name], 'absent where ' ~ given[0] ~ ' is given') -%}
        {%- endfor -%}
        {%- do settings.update({'form': {'name': given[0]}}) -%}
        {%- call relama._run() -%}
create or replace temporary table answer_form (
    part varchar, place integer, name varchar, type varchar, expression varchar
)
        {%- endcall -%}
    {%- endif -%}
    {{ return(given | length > 0) }}
{%- endmacro %}

{#
    A setting that says what form an answer has. `schema` is dbt's own setting at the top; under
    `meta` it is another name of `fields`.
#}
{% macro _form_setting(name) -%}
    {%- set value = relama._setting(name, none) -%}
    {%- if name == 'fields' and value is none -%}
        {%- set value = (config.get('meta') or {}).get('schema') -%}
    {%- endif -%}
    {{ return(value) }}
{%- endmacro %}

{# The Python of the job that reads the form. #}
{% macro _read_form(settings, with_columns=false) -%}
    {%- set name = settings['form']['name'] -%}
    {%- set given = {
        'kind': relama._encoded(name),
        'value': relama._encoded(tojson(relama._form_setting(name), '')),
        'source': relama._encoded(model.raw_code),
        'columns': relama._encoded('x') if with_columns else none,
    } -%}
    {{ return(relama._python_job(
        [relama._pattern(), relama._answer_form()], 'write_form', given
    )) }}
{%- endmacro %}

{# Puts what has been read into `settings`. #}
{% macro _close_form(settings) -%}
    {%- do relama._check_form(settings) -%}
    {%- set columns, texts = [], [] -%}
    {%- for row in relama._rows('select part, name, type, expression from answer_form order by place') -%}
        {%- if row[0] == 'pattern' -%}
            {%- do settings['form'].update({'expression': row[1]}) -%}
        {%- elif row[0] == 'column' -%}
            {%- do columns.append(
                {'quoted': relama._quoted(row[1]), 'type': row[2], 'expression': row[3]}
            ) -%}
        {%- endif -%}
    {%- endfor -%}
    {%- if columns -%}
        {%- do settings.update({'columns': columns}) -%}
    {%- endif -%}
{%- endmacro %}

{# Fails where a job has found what is wrong with the form. #}
{% macro _check_form(settings) -%}
    {%- set found = relama._rows("select name from answer_form where part = 'error' limit 1") -%}
    {%- if found | length -%}
        {%- do exceptions.raise_compiler_error(
            model.name ~ ': ' ~ settings['form']['name'] ~ ' ' ~ found[0][0] ~ '.'
        ) -%}
    {%- endif -%}
{%- endmacro %}

{# Before `_compile_form`: the tables that it fills, and the texts that the vocabulary must spell. #}
{% macro _open_transitions(settings) -%}
    {%- set texts = [] -%}
    {%- for row in relama._rows("select distinct name from answer_form where part = 'literal'") -%}
        {%- do texts.append(row[0]) -%}
    {%- endfor -%}
    {%- if texts -%}
        {%- do relama._check_spelled(settings['form']['name'], texts) -%}
    {%- endif -%}
    {%- call relama._run() -%}
create temporary table grammar (state integer, next_state integer, remaining integer, class_id integer);
create temporary table token_class (class_id integer, token_places integer[])
    {%- endcall -%}
{%- endmacro %}

{# The Python of the job that makes `grammar` and `token_class` of the form. #}
{% macro _compile_form(job, settings) -%}
    {%- set language_model = job['language_model'] -%}
    {%- set tokenizer = relama._tokenizer_settings() -%}
    {%- if tokenizer.get('separator') -%}
        {%- do exceptions.raise_compiler_error(
            model.name ~ ': ' ~ settings['form']['name'] ~ ' does not work with this language model: '
            ~ 'its tokenizer puts something between tokens.'
        ) -%}
    {%- endif -%}
    {%- set vocabulary -%}
select token_id, bytes from {{ relama._tokenizer_table('vocabulary') }}
where not is_special and token_id < {{ language_model['vocab_size'] }}
    {%- endset -%}
    {%- set given = {
        'pattern': relama._encoded(settings['form']['expression']),
        'vocabulary': relama._encoded(vocabulary),
        'vocab_size': relama._encoded(language_model['vocab_size'] | string),
        'end_token_id': relama._encoded(language_model['end_token_ids'][0] | string)
            if language_model['end_token_ids'] else none,
        'opens_bare': relama._encoded('x') if tokenizer.get('opening') or tokenizer.get('strip') else none,
    } -%}
    {{ return(relama._python_job([relama._token_transitions()], 'write_transitions', given)) }}
{%- endmacro %}
