{#
    The language model that answers rows: what its model `forward_pass` says of it as
    `meta`, and the relations that it consists of. A mapping. Which one, the config `model`
    says, the name of a package; a project that has only one need not.
#}
{% macro language_model() -%}
    {%- set name = relama.setting('model', none) -%}
    {%- set found = [] -%}
    {%- for node in graph.get('nodes', {}).values() -%}
        {%- if
            node.name == 'forward_pass'
            and 'language_model' in node.config.get('meta', {})
            and (name is none or node.package_name == name)
        -%}
            {%- do found.append(node) -%}
        {%- endif -%}
    {%- endfor -%}
    {%- if found | length != 1 -%}
        {%- set packages = found | map(attribute='package_name') | sort | join(', ') -%}
        {%- do exceptions.raise_compiler_error(
            'relama: ' ~ (
                'there are several language models (' ~ packages ~ '); name one: '
                ~ "config(model='" ~ found[0].package_name ~ "')." if found
                else 'the project has no language model' ~ (" named '" ~ name ~ "'" if name else '')
                ~ '; add a project that `relama new` wrote to packages.yml and run dbt deps.'
            )
        ) -%}
    {%- endif -%}
    {%- set node = found[0] -%}
    {%- set settings = {'package': node.package_name} -%}
    {%- do settings.update(node.config['meta']['language_model']) -%}
    {%- do settings.update({
        'identity': node.config['meta']['language_model'] | tojson,
        'function': relama.node_relation(node),
        'head': relama.package_relation(node.package_name, settings['head']),
    }) -%}
    {{ return(settings) }}
{%- endmacro %}

{# The relation of a model of a package, as the running node finds it in `graph`. #}
{% macro package_relation(package, name) -%}
    {%- for node in graph.get('nodes', {}).values() -%}
        {%- if
            node.name == name and node.package_name == package and node.resource_type == 'model'
        -%}
            {{ return(relama.node_relation(node)) }}
        {%- endif -%}
    {%- endfor -%}
    {%- do exceptions.raise_compiler_error(
        "relama: the package '" ~ package ~ "' has no model '" ~ name ~ "'."
    ) -%}
{%- endmacro %}

{% macro node_relation(node) -%}
    {{ return(api.Relation.create(
        database=node.database, schema=node.schema, identifier=node.alias
    )) }}
{%- endmacro %}

{# Whether the running node is a model that a language model answers. #}
{% macro is_answering() -%}
    {{ return(
        execute
        and model is defined
        and model.get('config', {}).get('materialized') in relama.row_materializations()
    ) }}
{%- endmacro %}

{% macro row_materializations() -%}
    {{ return(['relama_completions', 'relama_classify', 'relama_score', 'relama_embed']) }}
{%- endmacro %}
