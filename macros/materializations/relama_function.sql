{#
    The forward pass as a function of the database, without arguments: it reads the weights
    and the batch when it is called. With dbt's option --empty it is the same: the operators write
    the names of what they read with `.render()`, without the limit that the option puts on them.
#}
{% materialization relama_function, default %}
    {%- set target_relation = this.incorporate(type='view') -%}
    {{ run_hooks(pre_hooks) }}
    {%- call statement('main') -%}
        create or replace function {{ target_relation.render() }}() as table (
            {{ sql }}
        )
    {%- endcall -%}
    {{ run_hooks(post_hooks) }}
    {%- do adapter.commit() -%}
    {{ return({'relations': [target_relation]}) }}
{% endmaterialization %}
