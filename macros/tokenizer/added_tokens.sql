{#
    Added tokens are found in a text before it is split into words, as the tokenizers
    library does (`AddedVocabulary::extract_and_normalize`): in a first pass those that
    are not `normalized`, in the text as it is; then, in each text between, normalised,
    the others. What matches is the leftmost, of several the longest; a `single_word`
    token next to a letter of a word is text, as are special ones without `parse_special`.
#}

{#
    The passes that find a token: none, or two lists of added tokens, each with its text
    (`match`) and whether it is `text`, whatever is beside it.
#}
{% macro _added_token_passes(settings, parse_special) -%}
    {%- set passes, found = [[], []], [] -%}
    {%- for token in settings.get('added', []) -%}
        {%- set is_text = token['special'] and not parse_special -%}
        {%- set match = relama._decoded_text(token.get('match', token['content'])) -%}
        {%- do passes[1 if token['normalized'] else 0].append(
            dict(token, is_text=is_text, match=match, length=match | length)
        ) -%}
        {%- if not is_text -%}
            {%- do found.append(token) -%}
        {%- endif -%}
    {%- endfor -%}
    {{ return(passes if found else none) }}
{%- endmacro %}

{# The words of a text and the added tokens in it, see `_text_words`. An expression. #}
{% macro _words_and_added_tokens(text, settings, passes, guard) -%}
    {#- The guard is needed until no pass can find a special token. -#}
    {%- set guarded = namespace(second=false) -%}
    {%- for token in passes[1] if token['special'] and not token['is_text'] -%}
        {%- set guarded.second = true -%}
    {%- endfor -%}
    {%- set guards = [guard, guard if guard and guarded.second] -%}
    {%- set pieces = "[{'word': " ~ text ~ ", 'token_id': cast(null as integer)}]" -%}
    {%- set pieces = relama._found_added_tokens(pieces, passes[0], settings, guards[0], not guards[1]) -%}
    {%- set normalized -%}
list_transform(
    {{ pieces | indent(4) }},
    lambda piece: {
        'word': {{ relama._normalized_text('piece.word', settings['normalize']) | indent(8) }},
        'token_id': piece.token_id
    }
)
    {%- endset -%}
    {%- set pieces = relama._found_added_tokens(
        normalized if settings['normalize'] else pieces, passes[1], settings, guards[1], true
    ) -%}
flatten(list_transform(
    {{ pieces | indent(4) }},
    lambda piece, place: case
        when piece.word is null then [piece]
        else list_transform(
            {{ relama._split_words('[piece.word]', settings, '(place = 1)') | indent(12) }},
            lambda word: {'word': word, 'token_id': cast(null as integer)}
        )
    end
))
{%- endmacro %}

{#
    Pieces, of which each text is cut at the tokens of a pass. An expression, a list.

    guard    may stand between the letters of a token, which a special one then is not
    unguard  whether the guard is taken out of the texts that are left
#}
{% macro _found_added_tokens(pieces, tokens, settings, guard, unguard) -%}
    {%- set bare = relama._unguarded('piece.word', guard if unguard) -%}
    {%- if not tokens -%}
        {%- if bare == 'piece.word' -%}
            {{ return(pieces) }}
        {%- endif -%}
list_transform(
    {{ pieces | indent(4) }},
    lambda piece: {'word': {{ bare }}, 'token_id': piece.token_id}
)
    {%- else -%}
        {%- set pattern = relama._added_token_pattern(tokens, guard) -%}
        {%- set found = relama._unguarded('cut.found[i]', guard) -%}
        {%- set lists = {'matches': [], 'ids': [], 'lstrip': [], 'rstrip': [], 'single': [],
            'text': [], 'special': []} -%}
        {%- for token in tokens -%}
            {%- set match = relama._hexadecimal_literal(token['match']) -%}
            {%- do lists['matches'].append(match) -%}
            {%- do lists['ids'].append(token['id']) -%}
            {%- do lists['lstrip'].append(match) if token['lstrip'] -%}
            {%- do lists['rstrip'].append(match) if token['rstrip'] -%}
            {%- do lists['single'].append(match) if token['single_word'] -%}
            {%- do lists['text'].append(match) if token['is_text'] -%}
            {%- do lists['special'].append(match) if token['special'] -%}
        {%- endfor -%}
        {%- set kept = [] -%}
        {%- if lists['text'] -%}
            {%- do kept.append(found ~ ' not in (' ~ lists['text'] | join(', ') ~ ')') -%}
        {%- elif guard and lists['special'] -%}
            {%- do kept.append(
                '(' ~ found ~ ' = cut.found[i] or ' ~ found ~ ' not in ('
                ~ lists['special'] | join(', ') ~ '))'
            ) -%}
        {%- endif -%}
        {%- if lists['single'] -%}
            {%- set letter = '[' ~ settings['word'] ~ ']' -%}
            {%- set before = relama._unguarded("(cut.found[i - 1] || cut.texts[i])", guard) -%}
            {%- set before = before | replace('cut.found[i - 1]', "coalesce(cut.found[i - 1], '')") -%}
            {%- set after = relama._unguarded(
                "(cut.texts[i + 1] || coalesce(cut.found[i + 1], ''))", guard
            ) -%}
            {%- do kept.append(
                '(' ~ found ~ ' not in (' ~ lists['single'] | join(', ') ~ ') or not ('
                ~ 'regexp_matches(' ~ before ~ ", '" ~ letter ~ "$') or "
                ~ 'regexp_matches(' ~ after ~ ", '^" ~ letter ~ "')))"
            ) -%}
        {%- endif -%}
flatten(list_transform(
    {{ pieces | indent(4) }},
    lambda piece: case
        when piece.word is null then [piece]
        else flatten(list_transform(
            [{
                'texts': string_split_regex(piece.word, {{ pattern }}),
                'found': regexp_extract_all(piece.word, {{ pattern }})
            }],
            lambda cut: {{ relama._cut_pieces(lists, kept, settings, guard, unguard) | indent(12) }}
        ))
    end
))
    {%- endif -%}
{%- endmacro %}

{#
    The pieces of a text that is cut into `cut.texts` by the tokens `cut.found`.

    lists  the texts of tokens by what they do
    kept   conditions on the token i; one that fails them is text
#}
{% macro _cut_pieces(lists, kept, settings, guard, unguard) -%}
    {%- set cut -%}
        {%- if not kept -%}
cut
        {%- else -%}
list_transform(
    [list_filter(range(1, len(cut.found) + 1), lambda i: {{ kept | join(' and ') | indent(4) }})],
    lambda kept: {
        'texts': list_transform(
            range(0, len(kept) + 1),
            lambda i: array_to_string(flatten(list_transform(
                range(coalesce(kept[i], 0) + 1, coalesce(kept[i + 1], len(cut.found) + 1) + 1),
                lambda j: case
                    when j = coalesce(kept[i], 0) + 1 then [cut.texts[j]]
                    else [cut.found[j - 1], cut.texts[j]]
                end
            )), '')
        ),
        'found': list_transform(kept, lambda i: cut.found[i])
    }
)[1]
        {%- endif -%}
    {%- endset -%}
    {%- set word = namespace(text='cut.texts[i]') -%}
    {%- set word.text = relama._unguarded(word.text, guard if unguard) -%}
    {%- set space = '[' ~ settings.get('white_space', '') ~ ']+' -%}
    {%- if lists['rstrip'] -%}
        {%- set word.text = 'case when ' ~ relama._unguarded('cut.found[i - 1]', guard) ~ ' in ('
            ~ lists['rstrip'] | join(', ') ~ ') then regexp_replace(' ~ word.text ~ ", '^" ~ space
            ~ "', '') else " ~ word.text ~ ' end' -%}
    {%- endif -%}
    {%- if lists['lstrip'] -%}
        {%- set word.text = 'case when ' ~ relama._unguarded('cut.found[i]', guard) ~ ' in ('
            ~ lists['lstrip'] | join(', ') ~ ') then regexp_replace(' ~ word.text ~ ", '" ~ space
            ~ "$', '') else " ~ word.text ~ ' end' -%}
    {%- endif -%}
flatten(list_transform(
    [{{ cut | indent(4) }}],
    lambda cut: flatten(list_transform(
        range(1, len(cut.texts) + 1),
        lambda i: list_filter(
            [
                {
                    'word': {{ word.text }},
                    'token_id': cast(null as integer)
                },
                {
                    'word': cast(null as varchar),
                    'token_id': [{{ lists['ids'] | join(', ') }}][list_position(
                        [{{ lists['matches'] | join(', ') }}],
                        {{ relama._unguarded('cut.found[i]', guard) }}
                    )]
                }
            ],
            lambda piece: piece.word <> '' or piece.token_id is not null
        )
    ))
))
{%- endmacro %}

{# A text without the guard, if there is one. #}
{% macro _unguarded(text, guard) -%}
    {{ return(
        'replace(' ~ text ~ ', ' ~ relama._hexadecimal_literal(guard) ~ ", '')"
        if guard else text
    ) }}
{%- endmacro %}

{#
    A pattern of the tokens' texts, the longest first: what RE2 then finds is the leftmost,
    and the longest of these. A literal.
#}
{% macro _added_token_pattern(tokens, guard) -%}
    {%- set between = relama._escaped_pattern(guard) ~ '?' if guard else '' -%}
    {%- set patterns = [] -%}
    {%- for token in tokens | sort(attribute='length', reverse=true) -%}
        {%- do patterns.append(relama._escaped_pattern(token['match'], between)) -%}
    {%- endfor -%}
    '{{ patterns | join('|') }}'
{%- endmacro %}

{# A text as a pattern that matches it, each character followed by another pattern. #}
{% macro _escaped_pattern(text, between='') -%}
    {%- for letter in text -%}
        \x{{ '{' ~ letter.encode('utf-32-be').hex() ~ '}' ~ between }}
    {%- endfor -%}
{%- endmacro %}

{# A text of the model's `meta`, which has it in hexadecimal digits. #}
{% macro _decoded_text(text) -%}
    {{ return(''.encode().fromhex(text[5:]).decode()) }}
{%- endmacro %}

{# A text as an expression; a literal of SQL, or of YAML, holds no NUL. #}
{% macro _hexadecimal_literal(text) -%}
    decode(unhex('{{ text.encode().hex() }}'))
{%- endmacro %}
