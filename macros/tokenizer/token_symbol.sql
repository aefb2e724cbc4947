{#
    The character that stands for a token while words are merged: the one of the
    number token_id + 1, past the surrogates, which are no characters. An expression.

    token_id  an expression of type integer
#}
{% macro token_symbol(token_id) -%}
    chr({{ token_id }} + case when {{ token_id }} < 55295 then 1 else 2049 end)
{%- endmacro %}
