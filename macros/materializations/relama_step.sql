{#
    A step on ClickHouse, which computes a CTE anew wherever it is read: the models below become
    tables, each after those that it reads. They are temporary: another run has its own. What the
    step yields is a table in memory, from which others append it to where it belongs.
#}
{% materialization relama_step, adapter='clickhouse' %}
    {%- set target_relation = this.incorporate(type='table') -%}
    {%- set last = namespace(sql=sql) -%}
    {{ run_hooks(pre_hooks) }}
    {%- for cte in model.extra_ctes -%}
        {%- set name, rest = cte.sql.split(' as (', 1) -%}
        {%- do run_query(
            'create or replace temporary table ' ~ name | trim ~ ' engine = Memory as '
            ~ rest.rsplit(')', 1)[0]
        ) -%}
        {%- set last.sql = last.sql | replace(cte.sql ~ ', ', '') -%}
    {%- endfor -%}
    {%- call statement('main') -%}
        create or replace table {{ target_relation }} engine = Memory as {{ last.sql }}
    {%- endcall -%}
    {{ run_hooks(post_hooks) }}
    {%- do adapter.commit() -%}
    {{ return({'relations': [target_relation]}) }}
{% endmaterialization %}
