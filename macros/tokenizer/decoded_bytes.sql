{#
    The text that bytes spell in UTF-8, given as hexadecimal digits. What is no character
    becomes U+FFFD, one for each of the longest beginnings of a character, as the Unicode
    standard recommends (section 3.9, U+FFFD Substitution of Maximal Subparts).
    An expression.
#}
{% macro _decoded_bytes(digits) -%}
    {%- set next = '[89AB].' -%}
    {%- set three = '(?:E0[AB].|E[1-9ABCEF][89AB].|ED[89].)' -%}
    {%- set four = '(?:F0[9AB].|F[123][89AB].|F48.)' -%}
    {%- set ascii_or_two = '[0-7].|(?:C[2-9A-F]|D.)' ~ next -%}
coalesce(
    try(decode(unhex({{ digits }}))),
    decode(unhex(array_to_string(list_transform(
        regexp_extract_all(
            {{ digits }},
            '{{ ascii_or_two }}|'
            || '{{ three }}(?:{{ next }})?|'
            || '{{ four }}(?:{{ next }}){0,2}|..'
        ),
        lambda part: case
            when try(decode(unhex(part))) is null then 'EFBFBD' else part
        end
    ), '')))
)
{%- endmacro %}
