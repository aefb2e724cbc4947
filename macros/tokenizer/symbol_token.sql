{# The token that a character stands for; the reverse of `token_symbol`. An expression. #}
{% macro _symbol_token(symbol) -%}
unicode({{ symbol }})
- case when unicode({{ symbol }}) < 55296 then 1 else 2049 end
{%- endmacro %}

{# The tokens that the characters of a text stand for. An expression, a list of this type. #}
{% macro _symbol_tokens(symbols, type='integer') -%}
list_transform(
    regexp_extract_all({{ symbols }}, '(?s).'),
    lambda symbol: cast({{ relama._symbol_token('symbol') | indent(4) }} as {{ type }})
)
{%- endmacro %}

{# The characters of the two tokens that are one number in `merges`. An expression. #}
{% macro _pair_symbols(pair) -%}
    {{ relama.token_symbol('cast(' ~ pair ~ ' // 1048576 as integer)') }}
    || {{ relama.token_symbol('cast(' ~ pair ~ ' % 1048576 as integer)') }}
{%- endmacro %}
