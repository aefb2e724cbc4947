{# A text as a literal of SQL. #}
{% macro _text_literal(text) -%}
    '{{ text | replace("'", "''") }}'
{%- endmacro %}
