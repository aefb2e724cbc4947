{#
    The table of a model that a language model answers, and the temporary table `answer`
    with what is known for each `relama_hash`. Rows whose answer is known are written at
    once where the table does not have them yet, and so are rows that ask nothing.
#}
{% macro open_answers(job, types) -%}
    {%- set existing = load_cached_relation(this) -%}
    {%- set relation = job['relation'] -%}
    {%- set typed = [] -%}
    {%- for name in types -%}
        {%- do typed.append('cast(null as ' ~ types[name] ~ ') as ' ~ name) -%}
    {%- endfor -%}
    {%- set has = [] -%}
    {%- if existing is not none and existing.is_table and not should_full_refresh() -%}
        {%- for column in adapter.get_columns_in_relation(existing) -%}
            {%- do has.append(column.name | lower) -%}
        {%- endfor -%}
    {%- endif -%}
    {%- set ns = namespace(fits=has | length > 0) -%}
    {%- for name in job['answers'] + ['relama_hash'] -%}
        {%- set ns.fits = ns.fits and name in has -%}
    {%- endfor -%}
    {%- if not ns.fits -%}
        {%- if existing is not none -%}
            {%- do adapter.drop_relation(existing) -%}
        {%- endif -%}
        {%- do adapter.commit() -%}
        {%- call relama.run() -%}
create table {{ relation }} as
select
    * exclude (relama_hash),
    {{ typed | join(',\n    ') }},
    relama_hash
from input_row
limit 0
        {%- endcall -%}
    {%- else -%}
        {%- do adapter.commit() -%}
        {%- for column in job['columns'] if column['name'] | lower not in has -%}
            {%- call relama.run() -%}
alter table {{ relation }} add column {{ adapter.quote(column['name']) }} {{ column['type'] }}
            {%- endcall -%}
        {%- endfor -%}
    {%- endif -%}
    {%- call relama.run() -%}
create temporary table answer as
select distinct on (relama_hash)
    relama_hash,
    {{ job['answers'] | join(',\n    ') }}
from {{ relation }}
where relama_hash in (select relama_hash from input_row);
create temporary table written_row as select * from input_row limit 0;
{{ relama.write_answers(
    job, 'i.relama_hash is null or i.relama_hash in (select relama_hash from answer)'
) }}
    {%- endcall -%}
{%- endmacro %}

{#
    The statements that write rows of the query with their answers, as one transaction: a
    row takes the place of the one with its unique key; a row that is there as it is stays.
    Without a unique key, a row is known by all its columns.

    which  the condition of the rows in `input_row` to write
#}
{% macro write_answers(job, which) -%}
    {%- set key = relama.unique_key() -%}
    {%- set relation = job['relation'] -%}
    {%- set columns, same = [], [] -%}
    {%- for column in job['columns'] -%}
        {%- do columns.append(adapter.quote(column['name'])) -%}
    {%- endfor -%}
    {%- for column in columns + ['relama_hash'] -%}
        {%- do same.append('t.' ~ column ~ ' is not distinct from i.' ~ column) -%}
    {%- endfor -%}
begin;
delete from written_row;
insert into written_row
select i.*
from input_row as i
where
    ({{ which }})
    and not exists (
        select 1 from {{ relation }} as t
        where
            {{ same | join('\n            and ') }}
    );
    {%- if key %}
delete from {{ relation }} as t
using written_row as w
where
    {%- for column in key %}
    {{ 'and ' if not loop.first }}t.{{ column }} = w.{{ column }}
    {%- endfor %};
    {%- endif %}
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
commit;
{%- endmacro %}

{#
    Ends the model: warns of rows that ask nothing, and fails with `failure` where there is
    one. All other rows have their answers by then.
#}
{% macro close_rows(job, failure=none) -%}
    {%- set counting -%}
select
    count(*) filter (where a.{{ job['answers'][0] }} is null),
    count(*)
from input_row as i
left join answer as a on i.relama_hash = a.relama_hash
    {%- endset -%}
    {%- set unasked, row_count = relama.rows(counting)[0].values() -%}
    {%- if unasked and not failure -%}
        {%- do exceptions.warn(
            model.name ~ ': ' ~ unasked ~ ' of ' ~ row_count
            ~ ' rows ask nothing (the prompt is NULL or empty); their answer is NULL.'
        ) -%}
    {%- endif -%}
    {%- if failure -%}
        {%- do exceptions.raise_compiler_error(failure) -%}
    {%- endif -%}
    {%- call noop_statement('main', 'ANSWERED ' ~ job['waiting'], 'ANSWERED', job['waiting']) -%}
{{ sql }}
    {%- endcall -%}
    {{ run_hooks(post_hooks, inside_transaction=True) }}
    {%- do persist_docs(job['relation'], model) -%}
    {%- do adapter.commit() -%}
    {{ run_hooks(post_hooks, inside_transaction=False) }}
    {{ return({'relations': [job['relation']]}) }}
{%- endmacro %}
