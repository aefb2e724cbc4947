{#
    The token ids of a list of words and added tokens, see `_text_words`. An expression of
    type integer[].

    A token is written as one character, see `token_symbol`, so that a word is a text
    and merging is `replace`. In each round the best-ranked pair of each word is
    merged wherever it stands, from the left; words without a pair drop out.

    Each round reads all merges, of which there may be half a million: hence numbers.
#}
{% macro _encode_words(words, model=none) -%}
    {%- set merges = relama._tokenizer_table('merges', model) -%}
(
    with recursive words as (

        select
            piece.word,
            piece.token_id,
            place
        from (
            select
                unnest({{ words }}) as piece,
                generate_subscripts({{ words }}, 1) as place
        ) as taken_apart

    ),

    spelled as (

        {{ relama._spelled_words('words', model) | indent(8) }}

    ),

    merged as (

        select
            word,
            symbols
        from spelled

        union all

        select
            word,
            {%- set pair = relama._pair_symbols('pair') %}
            {%- set symbol = relama.token_symbol('token_id') %}
            {%- if (relama._tokenizer_settings(model) or {}).get('one_by_one') %}
            left(symbols, instr(symbols, {{ pair }}) - 1)
            || {{ symbol }}
            || substring(symbols, instr(symbols, {{ pair }}) + 2) as symbols
            {%- else %}
            replace(symbols, {{ pair }}, {{ symbol }}) as symbols
            {%- endif %}
        from (
            select
                p.word,
                p.symbols,
                arg_min(m.pair, m.merge_rank) as pair,
                arg_min(m.token_id, m.merge_rank) as token_id
            {#- On the left, as a hash table is made of what is right. #}
            from {{ merges }} as m
            inner join (
                select
                    word,
                    symbols,
                    unnest(list_distinct(list_transform(
                        range(1, len(token_ids)),
                        lambda i: token_ids[i] * 1048576 + token_ids[i + 1]
                    ))) as pair
                from (
                    select
                        word,
                        symbols,
                        {{ relama._symbol_tokens('symbols', 'bigint') | indent(24) }} as token_ids
                    from merged
                ) as taken_apart
            ) as p
                on m.pair = p.pair
            group by p.word, p.symbols
        ) as best

    ),

    encoded as (

        select
            word,
            arg_min(symbols, length(symbols)) as symbols
        from merged
        group by word

    )

    select
        flatten(list(
            {{ relama._symbol_tokens(
                "coalesce(e.symbols, " ~ relama.token_symbol('w.token_id') ~ ')'
            ) | indent(12) }}
            order by w.place
        )) as token_ids
    from words as w
    left join encoded as e on w.word = e.word
    where e.word is not null or w.token_id >= 0
)
{%- endmacro %}
