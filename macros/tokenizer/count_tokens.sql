{# How many tokens a text has. An expression, NULL for NULL; see `tokenize`. #}
{% macro count_tokens(column, parse_special=false, guard=none, model=none) -%}
    len({{ relama.tokenize(column, parse_special, guard, model) }})
{%- endmacro %}
