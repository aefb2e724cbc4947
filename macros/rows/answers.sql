{#
    The table of a model that a language model answers, and the temporary table `answer`
    with what is known for each `relama_hash`. Rows whose answer is known are written at
    once where the table does not have them yet, and so are rows that ask nothing.
#}
{% macro _open_answers(job, types) -%}
    {%- set relation = job['relation'] -%}
    {%- if not job.get('is_open') -%}
        {%- do relama._open_table(job, types) -%}
    {%- endif -%}
    {%- call relama._run() -%}
create or replace temporary table answer as
select distinct on (relama_hash)
    relama_hash,
    {{ job['answers'] | join(',\n    ') }}
from {{ relation }}
where relama_hash in (select relama_hash from input_row);
create or replace temporary table written_row as
select {{ (job['columns'] | map(attribute='quoted') | list + ['relama_hash']) | join(', ') }}
from {{ relation }}
limit 0;
{{ relama._write_answers(
    job, 'i.relama_hash is null or i.relama_hash in (select relama_hash from answer)'
) }}
    {%- endcall -%}
    {%- if job.get('has_error') -%}
        {%- set unasked = relama._text_literal(
            'Nothing is asked: the ' ~ job['asks'] | join(' or the ') ~ ' is NULL or empty.'
        ) if job['on_error'] == 'capture' else 'null' -%}
        {%- call relama._run() -%}
update {{ relation }}
set error = {{ unasked }}
where relama_hash is null and error is distinct from {{ unasked }}
        {%- endcall -%}
    {%- endif -%}
    {%- call relama._run() -%}
{{ relama._used(job, {
    'rows_asked': 'count(i.relama_hash)',
    'rows_from_cache': 'count(a.relama_hash)',
}, 'input_row as i left join answer as a on i.relama_hash = a.relama_hash') }}
    {%- endcall -%}
{%- endmacro %}

{# The table, created or brought up to the query. #}
{% macro _open_table(job, types) -%}
    {%- set relation = job['relation'] -%}
    {%- set existing = load_cached_relation(relation) -%}
    {%- set stored = {} -%}
    {%- if existing is not none and existing.is_table and not should_full_refresh() -%}
        {%- for row in relama._rows('describe ' ~ existing) -%}
            {%- do stored.update({row[0] | lower: row[1]}) -%}
        {%- endfor -%}
    {%- endif -%}
    {#- A field of an answer may have another type than it had. -#}
    {%- set other = [] -%}
    {%- for row in relama._rows('describe ' ~ relama._answered_columns(types)) if stored -%}
        {%- set name = row[0] | lower -%}
        {%- set is_asked = name in job['columns'] | map(attribute='name') | map('lower') | list -%}
        {%- if not is_asked and name != 'error' and stored.get(name) != row[1] -%}
            {%- do other.append(name) -%}
        {%- endif -%}
    {%- endfor -%}
    {%- set is_new = other | length > 0 or not stored -%}
    {%- do job.update({
        'has_error': 'error' in job['answers'] or (not is_new and 'error' in stored)
    }) -%}
    {%- if is_new -%}
        {%- if existing is not none -%}
            {%- do adapter.drop_relation(existing) -%}
        {%- endif -%}
        {%- do adapter.commit() -%}
        {%- call relama._run() -%}
create table {{ relation }} as
{{ relama._answered_columns(types) }}
        {%- endcall -%}
    {%- else -%}
        {%- do adapter.commit() -%}
        {%- do relama._alter_columns(job, stored) -%}
        {%- if 'error' in job['answers'] and 'error' not in stored -%}
            {%- call relama._run() -%} alter table {{ relation }} add column error varchar {%- endcall -%}
        {%- endif -%}
        {%- if job['on_error'] == 'fail' -%}
            {%- call relama._run() -%}
delete from {{ relation }} where starts_with(relama_hash, 'failed:')
            {%- endcall -%}
        {%- endif -%}
    {%- endif -%}
{%- endmacro %}

{# The columns of an answered table, in a select without rows. #}
{% macro _answered_columns(types) -%}
    {%- set typed = [] -%}
    {%- for name in types -%}
        {%- do typed.append('cast(null as ' ~ types[name] ~ ') as ' ~ name) -%}
    {%- endfor -%}
select
    * exclude (relama_hash),
    {{ typed | join(',\n    ') }},
    relama_hash
from input_row
limit 0
{%- endmacro %}

{#
    Brings the columns of the table up to the query's: adds those that it lacks, and gives
    one that the query has in another type that type, where all that is stored survives.
    Where it does not, the column keeps its type if that can hold what the query has.
    Nothing is altered before every column is known to fit. A row that is known by all its columns
    stays known when there are more.

    stored  mapping of the table's columns, in lower case, to their types
#}
{% macro _alter_columns(job, stored) -%}
    {%- set alterations, added, known = [], [], [] -%}
    {%- for column in job['columns'] -%}
        {%- set name, type = column['quoted'], column['type'] -%}
        {%- set before = stored.get(column['name'] | lower) -%}
        {%- if before is none -%}
            {%- do alterations.append('add column ' ~ name ~ ' ' ~ type) -%}
            {%- do added.append(name) -%}
        {%- elif before != type -%}
            {%- if relama._survives(job['relation'], name, before, type) -%}
                {%- do relama._check_indexes(job, name, before, type) -%}
                {%- do alterations.append('alter column ' ~ name ~ ' type ' ~ type) -%}
                {%- set before = type -%}
            {%- elif not relama._survives('input_row', name, type, before) -%}
                {%- do exceptions.raise_compiler_error(
                    model.name ~ ": the column '" ~ column['name'] ~ "' is stored as " ~ before
                    ~ ' and the query has ' ~ type ~ ', and neither type holds all values of both; '
                    ~ 'cast the column in the query to a type that does, or give it another name. '
                    ~ '(--full-refresh takes the new type and answers every row again.)'
                ) -%}
            {%- endif -%}
        {%- endif -%}
        {%- if before is not none -%}
            {%- do known.append(
                't.' ~ name ~ ' is not distinct from cast(i.' ~ name ~ ' as ' ~ before ~ ')'
            ) -%}
        {%- endif -%}
    {%- endfor -%}
    {%- if alterations -%}
        {%- call relama._run() -%}
begin;
            {%- for alteration in alterations %}
alter table {{ job['relation'] }} {{ alteration }};
            {%- endfor %}
            {%- if added %}
update {{ job['relation'] }} as t
set {% for column in added %}{{ column }} = i.{{ column }}{{ ', ' if not loop.last }}{% endfor %}
from input_row as i
where {{ known | join(' and ') }};
            {%- endif %}
commit
        {%- endcall -%}
    {%- endif -%}
{%- endmacro %}

{# DuckDB does not alter the type of a column while the table has an index. #}
{% macro _check_indexes(job, column, before, type) -%}
    {%- set relation = job['relation'] -%}
    {%- set indexes = relama._rows(
        'select index_name from duckdb_indexes() where ' ~ relama._is_place(relation, 'table_name')
    ) -%}
    {%- if indexes | length -%}
        {%- do exceptions.raise_compiler_error(
            model.name ~ ': the column ' ~ column ~ ' is to become ' ~ type ~ ' and is ' ~ before
            ~ ', which DuckDB does not alter while the table has the index ' ~ indexes[0][0]
            ~ "; drop it in a pre_hook and create it in a post_hook."
        ) -%}
    {%- endif -%}
{%- endmacro %}

{# Whether all values of a column come back from another type as they were. #}
{% macro _survives(relation, column, type, other) -%}
    {#- DuckDB does not try to cast a STRUCT to one that has none of its fields. -#}
    {%- set shares_none -%}
select
    contains({{ relama._text_literal(type) }}, 'STRUCT(')
    and len({{ relama._field_names(other) }}) > 0
    and not list_has_any({{ relama._field_names(type) }}, {{ relama._field_names(other) }})
    {%- endset -%}
    {%- if relama._value(shares_none) -%}
        {{ return(false) }}
    {%- endif -%}
    {%- set lost -%}
select count(*)
from {{ relation }}
where try_cast(try_cast({{ column }} as {{ other }}) as {{ type }}) is distinct from {{ column }}
    {%- endset -%}
    {{ return(relama._value(lost) == 0) }}
{%- endmacro %}

{# The names of a type's fields, as a list in SQL. #}
{% macro _field_names(type) -%}
    regexp_extract_all(
        {{ relama._text_literal(type) }}, '(?:STRUCT\(|, )("(?:[^"]|"")*"|[A-Za-z_]\w*) ', 1
    )
{%- endmacro %}

{#
    The statements that write rows of the query with their answers, as one transaction. A row is
    known by its unique key, or by all its columns where there is none: rows of the query take the
    place of those of the table that are known by the same, unless these are the same rows.

    which  the condition of the rows in `input_row` to write
    usage  a statement that logs what they cost, in the same transaction; a transaction of DuckDB
           writes to one database only
#}
{% macro _write_answers(job, which, usage='') -%}
    {%- set relation = job['relation'] -%}
    {%- set columns = job['columns'] | map(attribute='quoted') | list -%}
    {%- set written = (columns + ['relama_hash']) | join(', ') -%}
    {%- set key = job['key'] or columns -%}
begin;
delete from written_row;
insert into written_row ({{ written }})
select
    {%- for column in columns %}
    i.{{ column }},
    {%- endfor %}
    i.relama_hash
from input_row as i
where {{ which }};
delete from written_row as w
where not exists (
    select 1
    from (
        select {{ written }}, 1 as relama__more from written_row
        union all
        select {{ written }}, -1 as relama__more
        from {{ relation }} as t
        where exists (select 1 from written_row as w where {{ relama._equal_rows('t', 'w', key) }})
    ) as c
    where {{ relama._equal_rows('c', 'w', key) }}
    group by {{ written }}
    having sum(c.relama__more) <> 0
);
delete from {{ relation }} as t
using written_row as w
where {{ relama._equal_rows('t', 'w', key) }};
insert into {{ relation }} ({{ (columns + job['answers'] + ['relama_hash']) | join(', ') }})
select
    {%- for column in columns %}
    w.{{ column }},
    {%- endfor %}
    {%- for name in job['answers'] %}
    a.{{ name }},
    {%- endfor %}
    w.relama_hash
from written_row as w
left join answer as a on w.relama_hash = a.relama_hash;
{{ usage ~ ' commit;' if relation.database | lower == target.database | lower else 'commit; ' ~ usage }}
{%- endmacro %}

{# Whether two rows have the same values, NULL too, in columns. A condition. #}
{% macro _equal_rows(left, right, columns) -%}
    {%- set equal = [] -%}
    {%- for column in columns -%}
        {%- do equal.append(left ~ '.' ~ column ~ ' is not distinct from ' ~ right ~ '.' ~ column) -%}
    {%- endfor -%}
    {{ equal | join(' and ') }}
{%- endmacro %}

{#
    Ends the model: warns of rows without an answer, or fails because of them, see `_on_error`. All
    other rows have their answers by then.
#}
{% macro _close_rows(job) -%}
    {%- set counting -%}
select
    count(*) filter (where i.relama_hash is not null and a.relama_hash is null),
    count(*) filter (where i.relama_hash is null),
    count(*) filter (
        where a.{{ job['answers'][0] }} is null and not starts_with(a.relama_hash, 'failed:')
    ),
    count(*)
from input_row as i
left join answer as a on i.relama_hash = a.relama_hash
    {%- endset -%}
    {%- set unanswered, unasked, wordless, row_count = relama._rows(counting)[0].values() -%}
    {%- set counted = row_count ~ ' ' ~ job['things'] -%}
    {%- call relama._run() -%} {{ relama._used(job, {}) }} {%- endcall -%}
    {%- set failure = relama._failure(job, row_count) -%}
    {%- set left = unanswered - (job['failed'] if job['on_error'] == 'fail' else 0) -%}
    {%- if left and not relama._budget(job) -%}
        {%- do exceptions.raise_compiler_error(
            model.name ~ ': ' ~ left ~ ' of ' ~ counted
            ~ ' were asked and have no answer. This is a fault of relama.'
        ) -%}
    {%- elif left -%}
        {%- do exceptions.warn(
            model.name ~ ': ' ~ left ~ ' of ' ~ counted ~ ' are left for the next run: '
            ~ relama._budget(job) ~ '.'
        ) -%}
    {%- endif -%}
    {%- if failure and job['on_error'] == 'fail' -%}
        {%- do exceptions.raise_compiler_error(failure) -%}
    {%- elif failure -%}
        {%- do exceptions.warn(failure) -%}
    {%- endif -%}
    {%- if unasked -%}
        {%- do exceptions.warn(
            model.name ~ ': ' ~ unasked ~ ' of ' ~ counted ~ ' ask nothing (the ' ~ job['asks'] | join(' or the ')
            ~ ' is NULL or empty); their answer is NULL.'
        ) -%}
    {%- endif -%}
    {%- if wordless -%}
        {%- do exceptions.warn(
            model.name ~ ': ' ~ wordless ~ ' of ' ~ counted
            ~ ' have no tokens (what is asked is none, or the chat template leaves it out); '
            ~ 'their answer is NULL.'
        ) -%}
    {%- endif -%}
    {%- set answered = job['asked'] - left - job['failed'] if job.get('has_pairs') else job['done'] -%}
    {%- call noop_statement('main', 'ANSWERED ' ~ answered, 'ANSWERED', answered) -%}
{{ sql }}
    {%- endcall -%}
    {{ run_hooks(post_hooks, inside_transaction=True) }}
    {%- set relation = job.get('view', job['relation']) -%}
    {%- do apply_grants(relation, config.get('grants')) -%}
    {%- do persist_docs(relation, model) -%}
    {%- do adapter.commit() -%}
    {{ run_hooks(post_hooks, inside_transaction=False) }}
    {{ return({'relations': [relation]}) }}
{%- endmacro %}
