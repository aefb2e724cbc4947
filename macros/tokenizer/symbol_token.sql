{# The token that a character stands for; the reverse of `token_symbol`. An expression. #}
{% macro _symbol_token(symbol) -%}
unicode({{ symbol }})
- case when unicode({{ symbol }}) < 55296 then 1 else 2049 end
{%- endmacro %}
