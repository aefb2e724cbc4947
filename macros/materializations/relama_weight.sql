{#
    A table of weights: built once, and again only when its SQL, the checkpoint or the
    way it is stored changes, or with --full-refresh; a table of the tokenizer, when the
    `digest` of its meta does. The table's comment also says which language model it is part of,
    as it was `written` last: see `_check_built`. Billions of weights are not written
    anew because somebody types `dbt build`.
#}
{% materialization relama_weight, default %}
    {%- set target_relation = this.incorporate(type='table') -%}
    {#- A project that has been moved holds the same weights. -#}
    {%- set text = sql | replace(relama._staged_directory(), '') -%}
    {%- set meta = config.get('meta', {}) -%}
    {%- set digest = var('relama_checkpoint', '') ~ meta.get('digest', '') -%}
    {%- set fingerprint = 'relama:' ~ local_md5(digest ~ text) -%}
    {%- set comment = fingerprint ~ ':' ~ meta.get('written', '') -%}
    {%- set commented = relama._relation_comment(target_relation) or '' -%}
    {{ run_hooks(pre_hooks) }}
    {%- if commented.split(':')[:2] == fingerprint.split(':') and not should_full_refresh() -%}
        {#- The defaults of `code` and `rows_affected` are types, which dbt cannot write. -#}
        {%- do store_raw_result('main', 'UNCHANGED', none, none) -%}
        {%- if commented != comment -%}
            {%- call statement('comment') -%}
                comment on table {{ target_relation }} is '{{ comment }}'
            {%- endcall -%}
        {%- endif -%}
    {%- else -%}
        {%- set existing = load_cached_relation(this) -%}
        {%- set intermediate = make_intermediate_relation(target_relation) -%}
        {%- do drop_relation_if_exists(load_cached_relation(intermediate)) -%}
        {%- call statement('main') -%}
            {{ relama._create_weight(intermediate, sql) }}
        {%- endcall -%}
        {%- if existing is not none -%}
            {%- do adapter.drop_relation(existing) -%}
        {%- endif -%}
        {%- do adapter.rename_relation(intermediate, target_relation) -%}
        {%- call statement('comment') -%}
            comment on table {{ target_relation }} is '{{ comment }}'
        {%- endcall -%}
    {%- endif -%}
    {{ run_hooks(post_hooks) }}
    {%- do adapter.commit() -%}
    {{ return({'relations': [target_relation]}) }}
{% endmaterialization %}

{# The statements that create a table of weights and fill it. #}
{% macro _create_weight(relation, sql) -%}
    {{ return(adapter.dispatch('_create_weight', 'relama')(relation, sql)) }}
{%- endmacro %}

{% macro default___create_weight(relation, sql) -%}
    {{ create_table_as(false, relation, sql) }}
{%- endmacro %}

{#
    The compression is the table's own, from the model's `meta`: codes of 4 bits are packed
    into 4 bits. Floating-point numbers compress little and would be read at half the speed.
#}
{% macro duckdb___create_weight(relation, sql) -%}
    {%- set compression = config.get('meta', {}).get('compression', 'uncompressed') -%}
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

{# What `comment on table` has said of a table; none where there is none, or the database cannot tell. #}
{% macro _relation_comment(relation) -%}
    {{ return(adapter.dispatch('_relation_comment', 'relama')(relation)) }}
{%- endmacro %}

{% macro default___relation_comment(relation) -%}
    {{ return(none) }}
{%- endmacro %}

{#
    A query for each of hundreds of weights that have not changed would take longer than all else
    about them. So the first asks for the comments of all, and leaves them to the others in `graph`,
    which the nodes of a run share. A weight's own comment changes only when its own node runs.
#}
{% macro duckdb___relation_comment(relation) -%}
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
    {%- for row in relama._rows(
        'select database_name, schema_name, table_name, comment from duckdb_tables()'
        ~ " where comment like 'relama:%'"
    ) -%}
        {%- do comments.update({(row[0] | lower, row[1] | lower, row[2] | lower): row[3]}) -%}
    {%- endfor -%}
    {{ return(comments) }}
{%- endmacro %}

{# Database, schema and name of a relation, all in lower case: DuckDB does not tell cases apart. #}
{% macro _place(relation) -%}
    {{ return((relation.database | lower, relation.schema | lower, relation.identifier | lower)) }}
{%- endmacro %}
