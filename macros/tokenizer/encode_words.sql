{#
    The token ids of a list of words and added tokens, see `_text_words`. An expression of
    type integer[].

    A token is written as one character, see `token_symbol`, so that a word is a text
    and merging is `replace`. In each round the best-ranked pair of each word is
    merged wherever it stands, from the left; words without a pair drop out.
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
            best.word,
            {%- if (relama._tokenizer_settings(model) or {}).get('one_by_one') %}
            left(best.symbols, instr(best.symbols, chosen.pair) - 1)
            || chosen.symbol
            || substring(best.symbols, instr(best.symbols, chosen.pair) + 2) as symbols
            {%- else %}
            replace(best.symbols, chosen.pair, chosen.symbol) as symbols
            {%- endif %}
        from (
            select
                p.word,
                p.symbols,
                min(m.merge_rank) as merge_rank
            from (
                select
                    word,
                    symbols,
                    unnest(list_distinct(list_transform(
                        range(1, len(letters)),
                        lambda i: letters[i] || letters[i + 1]
                    ))) as pair
                from (
                    select
                        word,
                        symbols,
                        regexp_extract_all(symbols, '(?s).') as letters
                    from merged
                ) as taken_apart
            ) as p
            inner join {{ merges }} as m on p.pair = m.pair
            group by p.word, p.symbols
        ) as best
        inner join {{ merges }} as chosen
            on best.merge_rank = chosen.merge_rank

    ),

    encoded as (

        select
            word,
            arg_min(symbols, length(symbols)) as symbols
        from merged
        group by word

    )

    select
        list_transform(
            flatten(list(
                regexp_extract_all(
                    coalesce(e.symbols, {{ relama.token_symbol('w.token_id') }}), '(?s).'
                )
                order by w.place
            )),
            lambda symbol: {{ relama._symbol_token('symbol') | indent(12) }}
        ) as token_ids
    from words as w
    left join encoded as e on w.word = e.word
    where e.word is not null or w.token_id >= 0
)
{%- endmacro %}
