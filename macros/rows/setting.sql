{#
    A setting of a model that a language model answers: from its config, or from `meta`
    within it. Not by `config.get`, which finds a method of dbt's where a setting is named
    json_schema.
#}
{% macro _setting(name, default) -%}
    {%- set meta = config.get('meta') or {} -%}
    {%- set value = model.config.get(name) -%}
    {{ return(value if value is not none else meta.get(name, default)) }}
{%- endmacro %}

{# Fails where a model that a language model answers runs elsewhere than on DuckDB. #}
{% macro _check_adapter() -%}
    {%- if target.type != 'duckdb' -%}
        {%- do exceptions.raise_compiler_error(
            'relama: ' ~ model.config.materialized ~ ' does not run on ' ~ target.type ~ ' yet.'
        ) -%}
    {%- endif -%}
{%- endmacro %}

{# A setting that is a number; out of its range, one clear sentence. #}
{% macro _number_setting(name, default, least, most=none, whole=true) -%}
    {%- set value = relama._setting(name, default) -%}
    {%- if
        value is boolean or value is not number
        or (whole and value is not integer)
        or value | string in ['inf', 'nan'] or value < least or (most is not none and value > most)
    -%}
        {%- do relama._bad_setting(
            name, value,
            ('a whole number' if whole else 'a number') ~ ' of at least ' ~ least
            ~ (' and at most ' ~ most if most is not none else '')
        ) -%}
    {%- endif -%}
    {{ return(value) }}
{%- endmacro %}

{# A setting that is a number, or none where there is no limit. #}
{% macro _limit_setting(name, least, whole=true) -%}
    {{ return(
        none if relama._setting(name, none) is none
        else relama._number_setting(name, none, least, whole=whole)
    ) }}
{%- endmacro %}

{% macro _flag_setting(name, default) -%}
    {%- set value = relama._setting(name, default) -%}
    {%- if value is not boolean -%}
        {%- do relama._bad_setting(name, value, 'true or false') -%}
    {%- endif -%}
    {{ return(value) }}
{%- endmacro %}

{# A setting that is a text or a list of texts, as a list. #}
{% macro _texts_setting(name) -%}
    {%- set value = relama._setting(name, []) -%}
    {%- set texts = [value] if value is string else value -%}
    {%- if texts is mapping or texts is not iterable -%}
        {%- do relama._bad_setting(name, value, 'a list of texts') -%}
    {%- endif -%}
    {%- for text in texts -%}
        {%- if text is not string or not text -%}
            {%- do relama._bad_setting(name, value, 'a list of texts, none of them empty') -%}
        {%- endif -%}
    {%- endfor -%}
    {{ return(texts | list) }}
{%- endmacro %}

{% macro _bad_setting(name, value, wanted) -%}
    {%- do exceptions.raise_compiler_error(
        model.name ~ ': ' ~ name ~ ' must be ' ~ wanted ~ ', not ' ~ (value | tojson) ~ '.'
    ) -%}
{%- endmacro %}
