{#
    The text of token ids, as the model's own tokenizer decodes them: special tokens are
    left out, and bytes that are no character of UTF-8 become U+FFFD. An expression of
    type text, NULL for NULL.

        select {{ relama.detokenize('token_ids') }} as body from tokenized

    column  an expression of type integer[]
    model   the package of the language model, where there are several
#}
{% macro detokenize(column, model=none) -%}
    {{ return(adapter.dispatch('detokenize', 'relama')(column, model)) }}
{%- endmacro %}

{% macro default__detokenize(column, model=none) -%}
    {%- do exceptions.raise_compiler_error(
        'detokenize: relama has no tokenizer for ' ~ target.type ~ ' yet.'
    ) -%}
{%- endmacro %}

{# Some hundreds of tokens at a time, see `tokenize`. #}
{% macro duckdb__detokenize(column, model=none) -%}
    {%- set settings = relama.tokenizer_settings(model) or {} -%}
    {%- set text = relama.decoded_bytes('relama__digits') -%}
    {%- if settings.get('strip') -%}
        {%- set text = "regexp_replace(" ~ text ~ ", '^ ', '')" -%}
    {%- endif -%}
(
    select
        case
            when relama__place is not null
                then
                    {{ text | indent(20) }}
        end as relama__body
    from (
        select
            max(relama__place) as relama__place,
            coalesce(
                string_agg(relama__digits, '' order by relama__place), ''
            ) as relama__digits
        from (
            select
                relama__place,
                (
                    select string_agg(hex(v.bytes), '' order by i.place) as digits
                    from (
                        select
                            unnest(relama__words) as token_id,
                            generate_subscripts(relama__words, 1) as place
                    ) as i
                    inner join {{ relama.tokenizer_table('vocabulary', model) }} as v
                        on i.token_id = v.token_id and not v.is_special
                ) as relama__digits
            from (
                {{ relama.list_chunks('relama__text', column) | indent(16) }}
            ) as relama__chunk
        ) as relama__pieces
    ) as relama__joined
)
{%- endmacro %}
