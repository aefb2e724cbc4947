{#
    The token ids of a text, as the model's own tokenizer gives them: byte pair
    encoding (arXiv 1508.07909). An expression of type integer[], NULL for NULL.
    The text of a special token is text like any other.

        select {{ relama.tokenize('body') }} as token_ids from {{ ref('tickets') }}

    column         an expression of type text
    parse_special  whether the special tokens that the text spells are recognised
    guard          a character; a special token within whose spelling it stands is text.
                   It is taken out of the text, which should have no other use for it.
    model          the package of the language model, where there are several
#}
{% macro tokenize(column, parse_special=false, guard=none, model=none) -%}
    {{ return(adapter.dispatch('tokenize', 'relama')(column, parse_special, guard, model)) }}
{%- endmacro %}

{#
    What has a name here is named `relama__`: a column of the caller's that had the same
    name would be hidden.
#}
{% macro duckdb__tokenize(column, parse_special=false, guard=none, model=none) -%}
    {%- set settings = relama._tokenizer_settings(model) or {} -%}
    {%- set words -%}
case
    when relama__text is not null
        then {{ relama._text_words('relama__text', parse_special, guard, model) | indent(8) }}
end
    {%- endset -%}
    {%- if not settings.get('long_words') -%}
        {{- relama._encoded_chunks(words, column, model) -}}
    {%- else -%}
(
    select
        {#- What windows could not encode. #}
        case
            when relama__ids[1] = -1
                then {{ relama._encoded_chunks(
                    words, 'case when relama__ids[1] = -1 then relama__body end', model
                ) | indent(20) }}
            else relama__ids
        end as relama__token_ids
    from (
        select
            relama__body,
            {{ relama._encoded_windows(words, 'relama__body', settings, model) | indent(12) }}
            as relama__ids
        from (select {{ column | indent(12) }} as relama__body) as relama__given
    ) as relama__encoded
)
    {%- endif -%}
{%- endmacro %}

{#
    The tokens of a list of words, some hundreds at a time: DuckDB keeps what a subquery
    reads from outside beside each of its rows, and compares it, which must not be long.
#}
{% macro _encoded_chunks(words, column, model) -%}
(
    select
        case
            when count(relama__place) > 0
                then flatten(list(relama__token_ids order by relama__place))
        end as relama__token_ids
    from (
        select
            relama__place,
            coalesce(
                {{ relama._encode_words('relama__words', model) | indent(16) }},
                []
            ) as relama__token_ids
        from (
            {{ relama._list_chunks(words, column) | indent(12) }}
        ) as relama__chunk
    ) as relama__encoded
)
{%- endmacro %}
