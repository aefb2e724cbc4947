{#
    The text after operations of the tokenizer's normalizer. An expression.

    is_first  whether this is where the whole text begins, an expression
#}
{% macro _normalized_text(text, operations, is_first='true') -%}
    {%- set so_far = namespace(text=text) -%}
    {%- for operation in operations -%}
        {%- if 'nfc' in operation -%}
            {#- DuckDB's nfc_normalize ends at a NUL. -#}
            {%- set so_far.text = "array_to_string(list_transform(string_split(" ~ so_far.text
                ~ ", chr(0)), lambda part: nfc_normalize(part)), chr(0))" -%}
        {%- elif 'replace' in operation -%}
            {%- set so_far.text = 'replace(' ~ so_far.text ~ ', '
                ~ relama._literal_of(operation['replace']) ~ ', '
                ~ relama._literal_of(operation['with']) ~ ')' -%}
        {%- elif 'strip' in operation -%}
            {%- set so_far.text = 'regexp_replace(' ~ so_far.text ~ ', '
                ~ relama._text_literal(operation['strip']) ~ ", '')" -%}
        {%- else -%}
            {%- set prefix = relama._literal_of(operation['prepend']) -%}
            {%- set unless = "in ('')" if 'unless_there' not in operation
                else "= '' or starts_with(" ~ so_far.text ~ ', ' ~ prefix ~ ')' -%}
            {%- if operation.get('first') -%}
                {%- set unless = unless ~ ' or not ' ~ is_first -%}
            {%- endif -%}
            {%- set so_far.text = 'case when ' ~ so_far.text ~ ' ' ~ unless ~ ' then '
                ~ so_far.text ~ ' else ' ~ prefix ~ ' || ' ~ so_far.text ~ ' end' -%}
        {%- endif -%}
    {%- endfor -%}
    {{- so_far.text -}}
{%- endmacro %}

{# A text of the settings, which have it in hexadecimal digits. An expression. #}
{% macro _literal_of(text) -%}
    {{ relama._hexadecimal_literal(relama._decoded_text(text)) }}
{%- endmacro %}
