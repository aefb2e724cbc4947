{#
    All weights of a language model that is a package of another project: the models in its folder
    `weights` that have no table of their own making. A line of dbt's log for each of some hundreds
    would take longer than to see that none has changed. The model's own table lists them.
#}
{% materialization relama_weights, default %}
    {%- set target_relation = this.incorporate(type='table') -%}
    {%- set package = model.package_name -%}
    {{ run_hooks(pre_hooks) }}
    {%- set comments = relama._table_comments() -%}
    {%- set stale = [] -%}
    {%- set names = [] -%}
    {%- for node in relama._package_weights(package) -%}
        {%- set relation = relama._sibling(target_relation, node.alias) -%}
        {%- set commented = comments.get(relama._place(relation), '') -%}
        {%- do names.append("(" ~ relama._text_literal(node.alias) ~ ")") -%}
        {%- if
            should_full_refresh() or commented.split(':')[-1] != node.config.meta['written']
        -%}
            {%- do stale.append((node, relation, commented)) -%}
        {%- endif -%}
    {%- endfor -%}
    {%- set progress = relama._progress('weights', stale | length) -%}
    {%- set built = [] -%}
    {%- for node, relation, commented in stale -%}
        {%- set statement_count = relama._build_weight(
            relation, render(node.raw_code), node.config.meta, commented
        ) -%}
        {%- if statement_count -%}
            {%- do adapter.commit() -%}
        {%- endif -%}
        {%- if statement_count > 1 -%}
            {%- do built.append(node.name) -%}
        {%- endif -%}
        {%- do relama._show_progress(progress, loop.index) -%}
    {%- endfor -%}
    {%- set is_listed = not stale and load_cached_relation(this) is not none -%}
    {%- if not is_listed -%}
        {%- call statement('list') -%}
            create or replace table {{ target_relation.render() }} as
            select * from (values {{ names | join(', ') }}) as weights (name)
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

{# The models of a package that are part of its model `weights`: what each table is made of. #}
{% macro _package_weights(package) -%}
    {%- set found = [] -%}
    {%- for node in graph.nodes.values() -%}
        {%- if
            node.package_name == package
            and node.resource_type == 'model'
            and node.config.get('meta', {}).get('part_of') == 'weights'
        -%}
            {%- do found.append(node) -%}
        {%- endif -%}
    {%- endfor -%}
    {{ return(found) }}
{%- endmacro %}

{# A table beside another one. #}
{% macro _sibling(relation, identifier) -%}
    {{ return(api.Relation.create(
        database=relation.database, schema=relation.schema, identifier=identifier, type='table'
    )) }}
{%- endmacro %}
