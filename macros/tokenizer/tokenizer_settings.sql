{#
    How the model's tokenizer works, which the project's model `vocabulary` bears as
    `meta`; none while dbt parses. Of several language models, `model` names the package;
    a model that one of them answers has that one's.
#}
{% macro _tokenizer_settings(model=none) -%}
    {%- if not execute -%}
        {{ return(none) }}
    {%- endif -%}
    {%- set package = model or (relama._language_model().package if relama._is_answering()) -%}
    {%- set found, packages = [], [] -%}
    {%- for node in graph.get('nodes', {}).values() -%}
        {%- if
            node.name == 'vocabulary'
            and 'tokenizer' in node.config.get('meta', {})
            and (not package or node.package_name == package)
        -%}
            {%- do found.append(node.config['meta']['tokenizer']) -%}
            {%- do packages.append(node.package_name) -%}
        {%- endif -%}
    {%- endfor -%}
    {%- if not found -%}
        {%- do exceptions.raise_compiler_error(
            'relama: no model named vocabulary '
            ~ ("of the package '" ~ model ~ "' " if model else '')
            ~ 'says how the tokenizer works. Use a project that '
            ~ '`relama new` wrote; a unit test overrides the macro relama._tokenizer_settings.'
        ) -%}
    {%- endif -%}
    {%- if found | length > 1 and relama._running_package() not in packages -%}
        {{ relama._several_tokenizers(packages) }}
    {%- endif -%}
    {%- set running = relama._running_package() -%}
    {%- set settings = found[packages.index(running) if running in packages else 0] -%}
    {%- if 'unsupported' in settings -%}
        {%- do exceptions.raise_compiler_error('relama: ' ~ settings['unsupported']) -%}
    {%- endif -%}
    {{ return(settings) }}
{%- endmacro %}

{#
    A table of the tokenizer: `vocabulary`, `merges` or `alphabet`. A materialization may
    not call `ref`; it finds the table in the package of its language model.

    While dbt parses there is no graph; a project that `relama new` wrote has the macro
    `relama_language_model`, which tells its package from others.
#}
{% macro _tokenizer_table(name, model=none) -%}
    {%- if model -%}
        {{ return(ref(model, name)) }}
    {%- endif -%}
    {%- if relama._is_answering() -%}
        {{ return(relama._package_relation(relama._language_model().package, name)) }}
    {%- endif -%}
    {%- set packages = [] -%}
    {%- for package, macros in context.items() if not execute -%}
        {%- if
            package != 'context' and macros is mapping and 'relama_language_model' in macros
        -%}
            {%- do packages.append(package) -%}
        {%- endif -%}
    {%- endfor -%}
    {%- if packages | length > 1 and relama._running_package() not in packages -%}
        {{ relama._several_tokenizers(packages) }}
    {%- endif -%}
    {{ return(ref(name)) }}
{%- endmacro %}

{% macro _several_tokenizers(packages) -%}
    {%- do exceptions.raise_compiler_error(
        'relama: there are several language models (' ~ packages | sort | join(', ')
        ~ "); name the one whose tokenizer is meant: relama.tokenize(..., model='"
        ~ (packages | sort)[0] ~ "'), and likewise count_tokens and detokenize."
    ) -%}
{%- endmacro %}

{# The package of the running node; `ref` looks there first. #}
{% macro _running_package() -%}
    {{ return(model.package_name if model is defined else none) }}
{%- endmacro %}
