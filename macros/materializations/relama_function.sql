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
    {#- dbt writes `(select * from RELATION where false limit 0) _dbt_limit_subq_TABLE`. -#}
    {%- set texts = (sql | string).split('(select * from ') -%}
    {%- set unlimited = [texts[0]] -%}
    {%- for text in texts[1:] -%}
        {%- set parts = text.split(' where false limit 0)', 1) -%}
        {%- if parts | length == 1 -%}
            {%- do unlimited.append('(select * from ' ~ text) -%}
        {%- else -%}
            {%- set alias = ' _dbt_limit_subq_' ~ parts[0].split('.')[-1].replace('"', '') -%}
            {%- set rest = parts[1] -%}
            {%- do unlimited.append(
                parts[0] ~ (rest[alias | length:] if rest.startswith(alias) else rest)
            ) -%}
        {%- endif -%}
    {%- endfor -%}
    {{ return(unlimited | join) }}
{%- endmacro %}
