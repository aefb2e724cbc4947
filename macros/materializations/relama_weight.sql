{#
    A table of weights: built once, and again only when its SQL, the checkpoint or the
    way it is stored changes, or with --full-refresh; a table of the tokenizer, when the
    `digest` of its meta does. The table's comment also says which language model it is part of,
    as it was `written` last: see `_check_built`. Billions of weights are not written
    anew because somebody types `dbt build`.
#}
{% materialization relama_weight, default %}
    {%- set target_relation = this.incorporate(type='table') -%}
    {%- set commented = relama._relation_comment(target_relation) or '' -%}
    {{ run_hooks(pre_hooks) }}
    {%- set statement_count = relama._build_weight(
        target_relation, sql, config.get('meta', {}), commented
    ) -%}
    {%- if statement_count < 2 -%}
        {#- The defaults of `code` and `rows_affected` are types, which dbt cannot write. -#}
        {%- do store_raw_result('main', 'UNCHANGED', none, none) -%}
    {%- endif -%}
    {{ run_hooks(post_hooks) }}
    {#- Without a statement there is no transaction, and to end one that is not there is an error. -#}
    {%- if statement_count or pre_hooks or post_hooks -%}
        {%- do adapter.commit() -%}
    {%- endif -%}
    {{ return({'relations': [target_relation]}) }}
{% endmaterialization %}

{#
    Makes a table of weights what a select says, unless it is. Returns how many statements that
    took: none, one where only its comment was another, or more.

    meta       that of the model
    commented  the comment that the table has
#}
{% macro _build_weight(relation, sql, meta, commented) -%}
    {#- A project that has been moved holds the same weights. -#}
    {%- set text = sql | replace(relama._staged_directory(), '') -%}
    {%- set digest = var('relama_checkpoint', '') ~ meta.get('digest', '') -%}
    {%- set fingerprint = 'relama:' ~ local_md5(digest ~ text) -%}
    {%- set comment = fingerprint ~ ':' ~ meta.get('written', '') -%}
    {%- set is_same = commented.split(':')[:2] == fingerprint.split(':') -%}
    {%- if is_same and not should_full_refresh() -%}
        {%- if commented != comment -%}
            {%- call statement('comment') -%}
                {{ relama._comment_on(relation, comment) }}
            {%- endcall -%}
        {%- endif -%}
        {{ return(0 if commented == comment else 1) }}
    {%- endif -%}
    {%- set existing = load_cached_relation(relation) -%}
    {%- set intermediate = make_intermediate_relation(relation) -%}
    {%- do drop_relation_if_exists(load_cached_relation(intermediate)) -%}
    {%- call statement('main') -%}
        {{ relama._create_weight(intermediate, sql, meta) }}
    {%- endcall -%}
    {%- if existing is not none -%}
        {%- do adapter.drop_relation(existing) -%}
    {%- endif -%}
    {%- do adapter.rename_relation(intermediate, relation) -%}
    {%- call statement('comment') -%}
        {{ relama._comment_on(relation, comment) }}
    {%- endcall -%}
    {{ return(3) }}
{%- endmacro %}

{# The statements that create a table of weights and fill it. #}
{% macro _create_weight(relation, sql, meta) -%}
    {{ return(adapter.dispatch('_create_weight', 'relama')(relation, sql, meta)) }}
{%- endmacro %}

{% macro default___create_weight(relation, sql, meta) -%}
    {{ create_table_as(false, relation, sql) }}
{%- endmacro %}

{#
    In the order in which a step reads the rows, with an index for it. A vector of pgvector that
    fits into a page stays in the row (`storage plain`): TOAST would be three times as slow.
    https://www.postgresql.org/docs/current/storage-toast.html
#}
{% macro postgres___create_weight(relation, sql, meta) -%}
    {%- set columns = run_query('select * from (' ~ sql ~ ') as weight limit 0').column_names %}
    create table {{ relation }} as
    select * from ({{ sql }}) as weight limit 0;
    {%- if relama._pgvector() and 'row_id' in columns and relama._fits_into_page(sql) %}
    alter table {{ relation }} alter column vector set storage plain;
    {%- endif %}
    insert into {{ relation }}
    {{ sql }}
    order by 1;
    alter table {{ relation }} add primary key ({{ columns[0] }});
    analyze {{ relation }};
{%- endmacro %}

{# Whether the widest row of a weight takes less than the 8,160 bytes that a page has for it. #}
{% macro _fits_into_page(sql) -%}
    {%- set found = relama._rows(
        'select max(pg_column_size(vector)) from (select * from (' ~ sql
        ~ ') as weight limit 1) as first_row'
    ) -%}
    {{ return((found[0][0] or 0) < 8000) }}
{%- endmacro %}

{#
    The compression is the table's own, from the model's `meta`: codes of 4 bits are packed
    into 4 bits. Floating-point numbers compress little and would be read at half the speed.
#}
{% macro duckdb___create_weight(relation, sql, meta) -%}
    {%- set compression = meta.get('compression', 'uncompressed') -%}
    {%- set columns = run_query('describe ' ~ sql) -%}
    create table {{ relation }} (
        {%- for column in columns %}
        {{ adapter.quote(column[0]) }} {{ column[1] }} using compression
        {{- ' ' ~ (compression if 'TINYINT' in column[1] else 'uncompressed') }}
        {{- ',' if not loop.last }}
        {%- endfor %}
    );
    insert into {{ relation }}
    {{ sql }}
{%- endmacro %}

{#
    In the order of the rows, which a granule holds few of: a step looks up single rows, and
    threads share the others. Floating-point numbers compress little and would be read at half the
    speed.
#}
{% macro clickhouse___create_weight(relation, sql, meta) -%}
    {%- set columns = [] -%}
    {%- for row in relama._rows('describe (select * from (' ~ sql ~ '))') -%}
        {%- do columns.append(
            row[0] ~ ' ' ~ ('UInt32' if row[0] == 'row_id' else row[1])
            ~ (' codec(NONE)' if row[0] == 'vector')
        ) -%}
    {%- endfor -%}
    create table {{ relation }} ({{ columns | join(', ') }})
    engine = MergeTree
    order by {{ columns[0].split(' ')[0] }}
    settings index_granularity = 256
    as {{ sql }}
{%- endmacro %}

{# A statement that says something of a table. #}
{% macro _comment_on(relation, text) -%}
    {{ return(adapter.dispatch('_comment_on', 'relama')(relation, text)) }}
{%- endmacro %}

{% macro default___comment_on(relation, text) -%}
    comment on table {{ relation }} is '{{ text }}'
{%- endmacro %}

{% macro clickhouse___comment_on(relation, text) -%}
    alter table {{ relation }} modify comment '{{ text }}'
{%- endmacro %}

{#
    What `_comment_on` has said of a table; none where there is none.

    A query for each of hundreds of weights that have not changed would take longer than all else
    about them. So the first asks for the comments of all, and leaves them to the others in `graph`,
    which the nodes of a run share. A weight's own comment changes only when its own node runs.
#}
{% macro _relation_comment(relation) -%}
    {%- set found = graph.get('relama_comments', {}) -%}
    {%- if found.get('invocation_id') != invocation_id -%}
        {%- set found = {'invocation_id': invocation_id, 'tables': relama._table_comments()} -%}
        {%- do graph.update({'relama_comments': found}) -%}
    {%- endif -%}
    {{ return(found['tables'].get(relama._place(relation))) }}
{%- endmacro %}

{# The comments of all tables that have one of `relama_weight`, by their `_place`. #}
{% macro _table_comments() -%}
    {%- set comments = {} -%}
    {%- for row in relama._rows(adapter.dispatch('_commented_tables', 'relama')()) -%}
        {%- do comments.update({(row[0] | lower, row[1] | lower, row[2] | lower): row[3]}) -%}
    {%- endfor -%}
    {{ return(comments) }}
{%- endmacro %}

{# A select of database, schema, name and comment of the tables that have one of `relama_weight`. #}
{% macro default___commented_tables() -%}
select
    current_database(),
    n.nspname,
    c.relname,
    d.description
from pg_catalog.pg_class as c
inner join pg_catalog.pg_namespace as n on c.relnamespace = n.oid
inner join pg_catalog.pg_description as d
    on c.oid = d.objoid and d.objsubid = 0 and d.classoid = 'pg_catalog.pg_class'::regclass
where d.description like 'relama:%'
{%- endmacro %}

{% macro duckdb___commented_tables() -%}
select database_name, schema_name, table_name, comment from duckdb_tables() where comment like 'relama:%'
{%- endmacro %}

{% macro clickhouse___commented_tables() -%}
select
    '' as database_name,
    database,
    name,
    comment
from system.tables
where comment like 'relama:%'
{%- endmacro %}

{# Database, schema and name of a relation, all in lower case: DuckDB does not tell cases apart. #}
{% macro _place(relation) -%}
    {{ return(((relation.database or '') | lower, relation.schema | lower, relation.identifier | lower)) }}
{%- endmacro %}
