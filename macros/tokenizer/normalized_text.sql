{# The text after the operations of the tokenizer's normalizer. An expression. #}
{% macro normalized_text(text, operations) -%}
    {%- set so_far = namespace(text=text) -%}
    {%- for operation in operations -%}
        {%- if 'nfc' in operation -%}
            {#- DuckDB's nfc_normalize ends at a NUL. -#}
            {%- set so_far.text = "array_to_string(list_transform(string_split(" ~ so_far.text
                ~ ", chr(0)), lambda part: nfc_normalize(part)), chr(0))" -%}
        {%- elif 'replace' in operation -%}
            {%- set so_far.text = 'replace(' ~ so_far.text ~ ', '
                ~ relama.text_literal(operation['replace']) ~ ', '
                ~ relama.text_literal(operation['with']) ~ ')' -%}
        {%- else -%}
            {%- set prefix = relama.text_literal(operation['prepend']) -%}
            {%- set unless = "in ('')" if 'unless_there' not in operation
                else "= '' or starts_with(" ~ so_far.text ~ ', ' ~ prefix ~ ')' -%}
            {%- set so_far.text = 'case when ' ~ so_far.text ~ ' ' ~ unless ~ ' then '
                ~ so_far.text ~ ' else ' ~ prefix ~ ' || ' ~ so_far.text ~ ' end' -%}
        {%- endif -%}
    {%- endfor -%}
    {{- so_far.text -}}
{%- endmacro %}
