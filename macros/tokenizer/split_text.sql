{#
    A text cut by one step of the tokenizer's settings. An expression, a list of texts.

    A step with `white_space` has the pattern of words; white space before a word is cut
    from it, all but its last character first, then the last one where it is not part of
    the word. RE2 cannot look ahead, hence not say `\s+(?!\S)`.
#}
{% macro _split_text(text, step) -%}
    {%- if 'white_space' not in step -%}
regexp_extract_all({{ text }}, {{ relama._text_literal(step['pattern']) }})
    {%- else -%}
        {%- set space = '[' ~ step['white_space'] ~ ']' -%}
        {%- set pattern = relama._text_literal(
            '(' ~ space ~ '*?)(' ~ step['pattern'] ~ '|' ~ space ~ '+$)'
        ) -%}
flatten(list_transform(
    list_zip(
        regexp_extract_all({{ text }}, {{ pattern }}, 1),
        regexp_extract_all({{ text }}, {{ pattern }}, 2)
    ),
    lambda match: case
        when match[1] = '' then [match[2]]
        when
            length(match[1]) = 1
            or regexp_matches(match[2], {{ relama._text_literal('^' ~ space) }})
            then [match[1], match[2]]
        else [match[1][:-2], match[1][-1:], match[2]]
    end
))
    {%- endif -%}
{%- endmacro %}
