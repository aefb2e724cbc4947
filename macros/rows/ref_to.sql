{#
    A `ref` that can stand in a config, where dbt's own cannot: dbt keeps a config before
    it knows what a name refers to. Takes what `ref` takes.

        {{ config(materialized='relama_classify', labels=relama.ref_to('ticket_labels')) }}

    name  the model's, seed's or snapshot's, or the package before it, as in `ref`
#}
{% macro ref_to(name) -%}
    {%- do ref(name, *varargs, **kwargs) -%}
    {%- set reference = {'ref': varargs[0] if varargs else name} -%}
    {%- if varargs -%}
        {%- do reference.update({'package': name}) -%}
    {%- endif -%}
    {%- set version = kwargs.get('version', kwargs.get('v')) -%}
    {%- if version is not none -%}
        {%- do reference.update({'version': version}) -%}
    {%- endif -%}
    {{ return(reference) }}
{%- endmacro %}

{# Whether a value of a config is what `ref_to` returns. #}
{% macro _is_reference(value) -%}
    {{ return(
        value is mapping
        and 'ref' in value
        and not value | reject('in', ['ref', 'package', 'version']) | list
    ) }}
{%- endmacro %}

{#
    What a `ref_to` refers to, as it stands after `from`. dbt has put the query of an
    ephemeral model before the model's own, as a CTE; here it stands before a select of all.
#}
{% macro _referenced(reference) -%}
    {%- set found = [] -%}
    {%- for unique_id in model.depends_on.nodes if unique_id in graph.nodes -%}
        {%- set node = graph.nodes[unique_id] -%}
        {%- set version = reference.get('version', node.get('latest_version')) -%}
        {%- if
            node.name == reference['ref']
            and reference.get('package', node.package_name) == node.package_name
            and node.get('version') | string == version | string
        -%}
            {%- do found.append(node) -%}
        {%- endif -%}
    {%- endfor -%}
    {%- if not found -%}
        {%- do exceptions.raise_compiler_error(
            model.name ~ ": relama.ref_to('" ~ reference['ref'] ~ "') refers to no model."
        ) -%}
    {%- endif -%}
    {%- set own = found | selectattr('package_name', 'equalto', model.package_name) | list -%}
    {%- set node = (own or found)[0] -%}
    {%- if node.config.materialized != 'ephemeral' -%}
        {{ return(relama._node_relation(node)) }}
    {%- endif -%}
    {{ return(
        '(with ' ~ model.extra_ctes | map(attribute='sql') | join(', ')
        ~ ' select * from ' ~ api.Relation.add_ephemeral_prefix(node.alias) ~ ')'
    ) }}
{%- endmacro %}
