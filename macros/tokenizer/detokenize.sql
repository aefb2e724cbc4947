{#
    The text of token ids, as the model's own tokenizer decodes them: special tokens are
    left out, and bytes that are no character of UTF-8 become U+FFFD. An expression of
    type text, NULL for NULL.

        select {{ relama.detokenize('token_ids') }} as body from tokenized

    column  an expression of type integer[]
#}
{% macro detokenize(column) -%}
    {{ return(adapter.dispatch('detokenize', 'relama')(column)) }}
{%- endmacro %}

{% macro default__detokenize(column) -%}
    {%- do exceptions.raise_compiler_error(
        'detokenize: relama has no tokenizer for ' ~ target.type ~ ' yet.'
    ) -%}
{%- endmacro %}

{# Some hundreds of tokens at a time, see `tokenize`. #}
{% macro duckdb__detokenize(column) -%}
    {%- set settings = relama.tokenizer_settings() or {} -%}
    {%- set text = relama.decoded_bytes('digits') -%}
    {%- if settings.get('strip') -%}
        {%- set text = "regexp_replace(" ~ text ~ ", '^ ', '')" -%}
    {%- endif -%}
(
    select
        case
            when {{ column }} is not null
                then
                    {{ text | indent(20) }}
        end as body
    from (
        select coalesce(string_agg(pieces.digits, '' order by pieces.place), '') as digits
        from (
            select
                chunks.place,
                (
                    select string_agg(hex(v.bytes), '' order by i.place) as digits
                    from (
                        select
                            unnest(chunks.token_ids) as token_id,
                            generate_subscripts(chunks.token_ids, 1) as place
                    ) as i
                    inner join {{ relama.tokenizer_table('vocabulary') }} as v
                        on i.token_id = v.token_id and not v.is_special
                ) as digits
            from (
                {{ relama.list_chunks(column, 'token_ids') | indent(16) }}
            ) as chunks
        ) as pieces
    ) as joined
)
{%- endmacro %}
