{#
    Fails where the tokens of a text spell another: the vocabulary lacks a letter of it, for
    instance.

    name   of the setting
    texts  a list
#}
{% macro _check_spelled(name, texts) -%}
    {%- set rows = [] -%}
    {%- for text in texts -%}
        {%- do rows.append('(' ~ relama._text_literal(text) ~ ')') -%}
    {%- endfor -%}
    {#- Of a label, the white space before it is in its tokens, though a decoder may drop it. -#}
    {%- set compared = 'ltrim' if name == 'labels' else '' -%}
    {%- set misspelled -%}
select
    body,
    coalesce(spelled, '')
from (
    select
        body,
        {{ relama.detokenize(relama.tokenize('body')) | indent(8) }} as spelled
    from (values {{ rows | join(', ') }}) as texts (body)
)
where {{ compared }}(spelled) is distinct from {{ compared }}(body)
limit 1
    {%- endset -%}
    {%- set found = relama._rows(misspelled) -%}
    {%- if found | length -%}
        {%- do exceptions.raise_compiler_error(
            model.name ~ ": the language model's vocabulary cannot spell '" ~ found[0][0] ~ "' of "
            ~ name ~ ": its tokens spell '" ~ found[0][1] ~ "'."
        ) -%}
    {%- endif -%}
{%- endmacro %}
