{#
    All weights of a language model that is a package of another project: the tables that the model
    lists in its `meta`, beside its own, which has their names. A line of dbt's log for each of some
    hundreds would take longer than to see that none has changed.
#}
{% materialization relama_weights, default %}
    {%- set target_relation = this.incorporate(type='table') -%}
    {%- set meta = config.get('meta') -%}
    {{ run_hooks(pre_hooks) }}
    {%- set comments = relama._table_comments() -%}
    {%- set stale = [] -%}
    {%- for table in meta['tables'] -%}
        {%- set relation = relama._sibling(target_relation, table.name) -%}
        {%- set commented = comments.get(relama._place(relation), '') -%}
        {%- if should_full_refresh() or commented.split(':')[-1] != meta['written'] -%}
            {%- do stale.append((table, relation, commented)) -%}
        {%- endif -%}
    {%- endfor -%}
    {%- set progress = relama._progress('weights', stale | length) -%}
    {%- set built = [] -%}
    {%- for table, relation, commented in stale -%}
        {%- set statement_count = relama._build_weight(
            relation, relama._weight_of_package(table), dict(meta, digest=table.get('digest', '')), commented
        ) -%}
        {%- if statement_count -%}
            {%- do adapter.commit() -%}
        {%- endif -%}
        {%- if statement_count > 1 -%}
            {%- do built.append(table.name) -%}
        {%- endif -%}
        {%- do relama._show_progress(progress, loop.index) -%}
    {%- endfor -%}
    {%- set is_listed = not stale and load_cached_relation(this) is not none -%}
    {%- if not is_listed -%}
        {%- call statement('list') -%}
            create or replace table {{ target_relation.render() }} as
            {{ sql }}
        {%- endcall -%}
    {%- endif -%}
    {%- do store_raw_result(
        'main', 'BUILT ' ~ built | length if built else 'UNCHANGED', none, none
    ) -%}
    {{ run_hooks(post_hooks) }}
    {%- if not is_listed or pre_hooks or post_hooks -%}
        {%- do adapter.commit() -%}
    {%- endif -%}
    {{ return({'relations': [target_relation]}) }}
{% endmaterialization %}

{# What a table of weights is made of, as a select; see `weight_table`. #}
{% macro _weight_of_package(table) -%}
    {%- set parts = [] -%}
    {%- for part in table.parts -%}
        {%- set staged = {'tensor': source('staged_weights', part.tensor), 'rows': part.rows} -%}
        {%- if part.bias -%}
            {%- do staged.update({'bias': source('staged_weights', part.bias)}) -%}
        {%- endif -%}
        {%- do parts.append(staged) -%}
    {%- endfor -%}
    {{ return(relama.weight_table(
        parts, storage=table.storage, blocks=table.blocks, num_experts=table.num_experts
    )) }}
{%- endmacro %}
