{#
    A text cut by one step of the tokenizer's settings. An expression, a list of texts.

    A step with `white_space` has the pattern of words; white space before a word is cut
    from it, all but its last character first, then the last one where it is not part of
    the word. RE2 cannot look ahead, hence not say `\s+(?!\S)`. Where there is `between`,
    the pattern does not find each other character; what it leaves is a word, or removed.
#}
{% macro _split_text(text, step) -%}
    {%- set space = '[' ~ step.get('white_space', '') ~ ']' -%}
    {%- set between = step.get('between') -%}
    {%- if between == 'kept' or (between and 'white_space' in step) -%}
        {{- relama._split_between(text, step, space) -}}
    {%- elif 'white_space' not in step -%}
regexp_extract_all({{ text }}, {{ relama._text_literal(step['pattern']) }})
    {%- else -%}
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

{# A text cut by a pattern that leaves something between what it finds. #}
{% macro _split_between(text, step, space) -%}
    {%- set pattern = relama._text_literal('((?s:.)*?)(' ~ step['pattern'] ~ '|$)') -%}
list_filter(
    flatten(list_transform(
        list_zip(
            regexp_extract_all({{ text }}, {{ pattern }}, 1),
            regexp_extract_all({{ text }}, {{ pattern }}, 2)
        ),
    {%- if 'white_space' not in step %}
        lambda match: [match[1], match[2]]
    {%- else %}
        {%- set runs = relama._text_literal(
            space ~ '+' ~ ('|[^' ~ step['white_space'] ~ ']+' if step['between'] == 'kept' else '')
        ) %}
        lambda match: case
            when match[1] = '' then [match[2]]
            else list_append(
                flatten(list_transform(
                    regexp_extract_all(match[1], {{ runs }}),
                    lambda run, place: case
                        when
                            regexp_matches(run, {{ relama._text_literal('^' ~ space ~ '{2}') }})
                            and not (
                                ends_with(match[1], run)
                                and place = len(regexp_extract_all(match[1], {{ runs }}))
                                and regexp_matches(
                                    match[2], {{ relama._text_literal('^(?:$|' ~ space ~ ')') }}
                                )
                            )
                            then [run[:-2], run[-1:]]
                        else [run]
                    end
                )),
                match[2]
            )
        end
    {%- endif %}
    )),
    lambda word: word <> ''
)
{%- endmacro %}
