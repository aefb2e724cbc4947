{#
    The language model that answers rows: what its model `forward_pass` says of it as
    `meta`, and the relations that it consists of. A mapping. Which one, the config `model`
    says, the name of a package; a project that has only one need not.
#}
{% macro _language_model() -%}
    {%- set name = relama._setting('model', none) -%}
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
    {%- set settings = dict(node.config['meta']['language_model']) -%}
    {#- Not the chat template: a row's digest has the text that it makes of the row. -#}
    {%- set chat = settings.pop('chat') -%}
    {%- set identity = settings | tojson -%}
    {%- do settings.update({
        'package': node.package_name,
        'chat': chat,
        'identity': identity,
        'function': relama._node_relation(node),
        'head': relama._sibling(
            relama._package_relation(node.package_name, 'weights'), settings['head']
        ),
    }) -%}
    {{ return(settings) }}
{%- endmacro %}

{# The relation of a model of a package, as the running node finds it in `graph`. #}
{% macro _package_relation(package, name) -%}
    {{ return(relama._node_relation(relama._package_node(package, name))) }}
{%- endmacro %}

{% macro _package_node(package, name) -%}
    {%- set node = graph.get('nodes', {}).get('model.' ~ package ~ '.' ~ name) -%}
    {%- if node is none -%}
        {%- do exceptions.raise_compiler_error(
            "relama: the package '" ~ package ~ "' has no model '" ~ name ~ "'."
        ) -%}
    {%- endif -%}
    {{ return(node) }}
{%- endmacro %}

{# The relation of a node: with dbt's option --defer it may be that of another environment. #}
{% macro _node_relation(node) -%}
    {%- set place = node.defer_relation if relama._is_deferred(node) else node -%}
    {{ return(api.Relation.create(
        database=place.database, schema=place.schema, identifier=place.alias
    )) }}
{%- endmacro %}

{# Whether dbt's `ref` gives the relation of another environment, by the rule of `ref`. #}
{% macro _is_deferred(node) -%}
    {%- if not node.get('defer_relation') -%}{{ return(false) }}{%- endif -%}
    {%- if invocation_args_dict.get('favor_state') and node.unique_id not in selected_resources -%}
        {{ return(true) }}
    {%- endif -%}
    {%- if node.config.materialized == 'relama_function' -%}
        {{ return(not relama._function_exists(node)) }}
    {%- endif -%}
    {{ return(adapter.get_relation(node.database, node.schema, node.alias) is none) }}
{%- endmacro %}

{# dbt does not list functions among its relations. #}
{% macro _function_exists(node) -%}
    {%- set found = run_query(
        'select 1 from duckdb_functions() where ' ~ relama._is_place(
            api.Relation.create(
                database=node.database, schema=node.schema, identifier=node.alias
            ), 'function_name'
        )
    ) -%}
    {{ return(found.rows | length > 0) }}
{%- endmacro %}

{# Whether the running node is a model that a language model answers. #}
{% macro _is_answering() -%}
    {{ return(
        execute
        and model is defined
        and model.get('config', {}).get('materialized') in relama._row_options()
    ) }}
{%- endmacro %}
