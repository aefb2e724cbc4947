{#
    The token ids of a text, as the model's own tokenizer gives them: byte pair
    encoding (arXiv 1508.07909). An expression of type integer[], NULL for NULL.
    The text of a special token is text like any other.

        select {{ relama.tokenize('body') }} as token_ids from {{ ref('tickets') }}

    column  an expression of type text
#}
{% macro tokenize(column) -%}
    {{ return(adapter.dispatch('tokenize', 'relama')(column)) }}
{%- endmacro %}

{% macro default__tokenize(column) -%}
    {%- do exceptions.raise_compiler_error(
        'tokenize: relama has no tokenizer for ' ~ target.type ~ ' yet.'
    ) -%}
{%- endmacro %}

{#
    Words are encoded some hundreds at a time: DuckDB keeps what a subquery reads from
    outside beside each of its rows, and compares it, which must not be a long text.
#}
{% macro duckdb__tokenize(column) -%}
(
    select
        case
            when {{ column }} is not null
                then coalesce(flatten(list(encoded.token_ids order by encoded.place)), [])
        end as token_ids
    from (
        select
            chunks.place,
            {{ relama.encode_words('chunks.words') | indent(12) }} as token_ids
        from (
            {{ relama.list_chunks(relama.text_words(column), 'words') | indent(12) }}
        ) as chunks
    ) as encoded
)
{%- endmacro %}
