{#
    How many tokens a text has, as `tokenize` counts them. An expression, NULL for NULL.

        select {{ relama.count_tokens('body') }} as tokens from {{ ref('tickets') }}

    column         an expression of type text
    parse_special  whether the special tokens that the text spells are recognised
    guard          a character; a special token within whose spelling it stands is text
    model          the package of the language model, where there are several
#}
{% macro count_tokens(column, parse_special=false, guard=none, model=none) -%}
    len({{ relama.tokenize(column, parse_special, guard, model) }})
{%- endmacro %}
