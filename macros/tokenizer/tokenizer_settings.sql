{#
    How the model's tokenizer works, which the project's model `vocabulary` bears as
    `meta`; none while dbt parses.
#}
{% macro tokenizer_settings() -%}
    {%- if not execute -%}
        {{ return(none) }}
    {%- endif -%}
    {%- set found = [] -%}
    {%- for node in graph.get('nodes', {}).values() -%}
        {%- if node.name == 'vocabulary' and 'tokenizer' in node.config.get('meta', {}) -%}
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
