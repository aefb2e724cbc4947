{#
    How the model's tokenizer works, which the project's model `vocabulary` bears as
    `meta`; none while dbt parses.
#}
{% macro tokenizer_settings(model=none) -%}
    {%- if not execute -%}
        {{ return(none) }}
    {%- endif -%}
    {%- set package = model or (relama.language_model().package if relama.is_answering()) -%}
    {%- set found = [] -%}
    {%- for node in graph.get('nodes', {}).values() -%}
        {%- if
            node.name == 'vocabulary'
            and 'tokenizer' in node.config.get('meta', {})
            and (not package or node.package_name == package)
        -%}
            {%- do found.append(node.config['meta']['tokenizer']) -%}
        {%- endif -%}
    {%- endfor -%}
    {%- if not found -%}
        {%- do exceptions.raise_compiler_error(
            'relama: no model named vocabulary says how the tokenizer works. Use a project that '
            ~ '`relama new` wrote; a unit test overrides the macro relama.tokenizer_settings.'
        ) -%}
    {%- endif -%}
    {%- if 'unsupported' in found[0] -%}
        {%- do exceptions.raise_compiler_error('relama: ' ~ found[0]['unsupported']) -%}
    {%- endif -%}
    {{ return(found[0]) }}
{%- endmacro %}

{#
    A table of the tokenizer: `vocabulary`, `merges` or `alphabet`. A materialization may
    not call `ref`; it finds the table in the package of its language model.
#}
{% macro tokenizer_table(name, model=none) -%}
    {%- if model -%}
        {{ return(ref(model, name)) }}
    {%- endif -%}
    {%- if relama.is_answering() -%}
        {{ return(relama.package_relation(relama.language_model().package, name)) }}
    {%- endif -%}
    {{ return(ref(name)) }}
{%- endmacro %}
