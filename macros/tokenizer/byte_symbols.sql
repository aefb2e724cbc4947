{#
    What stands for a character that is spelled by its bytes: the symbols of the byte
    tokens. An expression.

    first_byte  the token of the byte 0; those of the other bytes follow
#}
{% macro _byte_symbols(letter, first_byte) -%}
    array_to_string(list_transform(
        regexp_extract_all(hex(encode({{ letter }})), '..'),
        lambda byte: chr({{ first_byte + 1 }} + cast('0x' || byte as integer))
    ), '')
{%- endmacro %}
