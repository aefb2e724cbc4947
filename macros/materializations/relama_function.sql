{#
    The forward pass as a function of the database, without arguments: it reads the weights
    and the batch when it is called.
#}
{% materialization relama_function, default %}
    {%- set target_relation = this.incorporate(type='view') -%}
    {{ run_hooks(pre_hooks) }}
    {%- call statement('main') -%}
        create or replace function {{ target_relation.render() }}() as table (
            {{ relama._unlimited(sql) }}
        )
    {%- endcall -%}
    {{ run_hooks(post_hooks) }}
    {%- do adapter.commit() -%}
    {{ return({'relations': [target_relation]}) }}
{% endmaterialization %}

{#
    A query, or a relation, without the limit that dbt's option --empty puts on every relation:
    it reads weights, which are there in full.
#}
{% macro _unlimited(sql) -%}
    {%- if not flags.EMPTY -%}{{ return(sql) }}{%- endif -%}
    {{ return(modules.re.sub(
        '\\(select \\* from (\\S+) where false limit 0\\)(?: _dbt_limit_subq_\\w+)?',
        '\\1',
        sql | string
    )) }}
{%- endmacro %}
