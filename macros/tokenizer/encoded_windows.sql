{#
    The tokens of a list of words, of which long ones are encoded in windows that overlap
    by half: merging a word takes as many rounds as it has different pairs. `[-1]` where
    this fails, NULL for NULL.

    No merge crosses the boundary between two tokens of a word, so the part before it is
    merged as if it were alone, and the part after it. Whether a merge crosses the boundary
    between two encoded parts depends on the two tokens beside it only: what is merged
    within them is merged in the same order, whatever is around. So where two windows have
    the same token at the same place, the tokens of the one up to it and those of the
    other from there on are those of both together.

    words     an expression of `relama__text`
    column    what `relama__text` is
    settings  `long_words`: `longest`, the characters of the longest token, and `space`,
              the character that a token has for a space
#}
{% macro _encoded_windows(words, column, settings, model) -%}
    {%- set longest = [128, settings['long_words']['longest']] | max -%}
    {%- set chunks -%}
list(
    {
        'token_ids': relama__token_ids,
        'head': relama__head,
        'heads': relama__heads,
        'tails': relama__tails,
        'is_whole': relama__is_whole
    }
    order by relama__place
)
    {%- endset -%}
(
    select
        case
            when count(relama__place) = 0 then null
            when count(relama__head) = 0
                then flatten(list(relama__token_ids order by relama__place))
            else {{ relama._joined_windows(chunks) | indent(12) }}
        end as relama__token_ids
    from (
        select
            relama__place,
            relama__head,
            relama__token_ids,
            {#- Where tokens are, from the end of what windows have in common. #}
            list_transform(
                range(1, len(relama__sizes) + 1),
                lambda i: case
                    when list_sum(relama__sizes[:i]) <= relama__head
                        then
                            cast(relama__token_ids[i] as bigint) * 1048576
                            + list_sum(relama__sizes[:i - 1])
                            - relama__head
                end
            ) as relama__heads,
            list_transform(
                range(1, len(relama__sizes) + 1),
                lambda i:
                    cast(relama__token_ids[i] as bigint) * 1048576
                    - list_sum(relama__sizes[i:])
            ) as relama__tails,
            relama__size is null
            or coalesce(list_sum(relama__sizes), 0) = relama__size as relama__is_whole
        from (
            select
                *,
                {#- Bytes of the tokens of a window. #}
                (
                    select
                        list(
                            {% if settings.get('unknown') is not none -%}
                            case
                                when v.token_id = {{ settings.get('unknown') }} then 0
                                else octet_length(v.bytes)
                            end
                            {%- else -%}
                            octet_length(v.bytes)
                            {%- endif %}
                            order by i.place
                        ) as sizes
                    from {{ relama._tokenizer_table('vocabulary', model) }} as v
                    inner join (
                        select
                            unnest(relama__window_ids) as token_id,
                            generate_subscripts(relama__window_ids, 1) as place
                    ) as i
                        on v.token_id = i.token_id
                ) as relama__sizes
            from (
                select
                    *,
                    case
                        when relama__size is not null then relama__token_ids
                    end as relama__window_ids
                from (
                    select
                        relama__place,
                        relama__head,
                        relama__size,
                        coalesce(
                            {{ relama._encode_words('relama__words', model) | indent(28) }},
                            []
                        ) as relama__token_ids
                    from (
                        {{ relama._word_windows(
                            words, column, settings, longest
                        ) | indent(24) }}
                    ) as relama__chunk
                ) as relama__encoded
            ) as relama__windows
        ) as relama__measured
    ) as relama__placed
)
{%- endmacro %}

{#
    The words of a text in chunks; if one is long, each word is a chunk, and each window of
    a long one. A select of (relama__words, relama__place, relama__head, relama__size):
    of a window, the bytes that it has in common with the one before, and all its bytes.
#}
{% macro _word_windows(words, column, settings, longest) -%}
    {%- set space = settings['long_words'].get('space') -%}
    {#- Half the characters of a window; most of three bytes or four are spelled as these. -#}
    {%- set step -%}
if(octet_length(encode(piece.word)) > 2 * length(piece.word), 24, 64)
    {%- endset -%}
    {%- set part = 'substring(piece.word, i + 1, {})' -%}
    {%- if space -%}
        {%- set part = 'replace(' ~ part ~ ', ' ~ relama._hexadecimal_literal(space) ~ ", ' ')" -%}
    {%- endif -%}
select
    relama__chunk['words'] as relama__words,
    relama__chunk['head'] as relama__head,
    relama__chunk['size'] as relama__size,
    relama__place
from (
    select
        unnest(relama__chunks) as relama__chunk,
        unnest(
            case
                when relama__list is null then [null]
                else range(1, len(relama__chunks) + 1)
            end
        ) as relama__place
    from (
        select
            relama__list,
            case
                when
                    coalesce(list_max(list_transform(
                        relama__list, lambda piece: length(piece.word)
                    )), 0) <= {{ longest }}
                    then list_transform(
                        range(0, coalesce(greatest(len(relama__list), 1), 1), 256),
                        lambda i: {
                            'words': relama__list[i + 1:i + 256],
                            'head': cast(null as integer),
                            'size': cast(null as integer)
                        }
                    )
                else flatten(list_transform(
                    relama__list,
                    lambda piece: case
                        when coalesce(length(piece.word), 0) <= {{ longest }}
                            then [{
                                'words': [piece],
                                'head': 0,
                                'size': cast(null as integer)
                            }]
                        else list_transform(
                            range(0, length(piece.word) - {{ step }}, {{ step }}),
                            lambda i: {
                                'words': [{
                                    'word': substring(piece.word, i + 1, 2 * {{ step }}),
                                    'token_id': -1
                                }],
                                'head': case
                                    when i = 0 then 0
                                    else octet_length(encode(
                                        {{ part | replace('{}', step) }}
                                    ))
                                end,
                                'size': octet_length(encode(
                                    {{ part | replace('{}', '2 * ' ~ step) }}
                                ))
                            }
                        )
                    end
                ))
            end as relama__chunks
        from (
            select {{ words | indent(12) }} as relama__list
            from (select {{ column | indent(12) }} as relama__text) as relama__source
        ) as relama__whole
    ) as relama__cut
) as relama__listed
{%- endmacro %}

{#
    Chunks of tokens in one: of windows, those between the tokens that they share with the
    window before and with the one after. `[-1]` where windows share none.
#}
{% macro _joined_windows(chunks) -%}
list_transform(
    [{{ chunks }}],
    lambda chunks: list_transform(
        [list_transform(
            range(1, len(chunks) + 1),
            lambda i: case
                when chunks[i].head > 0
                    then list_filter(
                        chunks[i].heads,
                        lambda shared: list_contains(chunks[i - 1].tails, shared)
                    )[1]
            end
        )],
        lambda links: case
            when len(list_filter(
                range(1, len(chunks) + 1),
                lambda i:
                    not chunks[i].is_whole
                    or (chunks[i].head > 0 and links[i] is null)
            )) > 0
                then [-1]
            else flatten(list_transform(
                range(1, len(chunks) + 1),
                lambda i: chunks[i].token_ids[
                    case
                        when links[i] is null then 1
                        else list_position(chunks[i].heads, links[i]) + 1
                    end
                    :case
                        when links[i + 1] is null then len(chunks[i].token_ids)
                        else list_position(chunks[i].tails, links[i + 1])
                    end
                ]
            ))
        end
    )[1]
)[1]
{%- endmacro %}
