{# How many tokens a text has. An expression, NULL for NULL; see `tokenize`. #}
{% macro count_tokens(column) -%}
    len({{ relama.tokenize(column) }})
{%- endmacro %}
