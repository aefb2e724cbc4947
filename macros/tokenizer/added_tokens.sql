{#
    Added tokens are found in a text before it is split into words, as the tokenizers
    library does (`AddedVocabulary::extract_and_normalize`): in a first pass those that
    are not `normalized`, in the text as it is; then, in each text between, normalised,
    the others. What matches is the leftmost, of several the longest; a `single_word`
    token next to a letter of a word is text, as are special ones without `parse_special`.
#}

{#
    The passes that find a token: none, or two of (tokens, pattern, special). A token has
    its text as hexadecimal digits (`match`), and `is_text` where it is text, whatever is
    beside it; `special` are those that are found.
#}
{% macro _added_token_passes(settings, parse_special) -%}
    {%- set patterns = settings.get('added_patterns', ['', '']) -%}
    {%- set passes = [] -%}
    {%- for pattern in patterns -%}
        {%- do passes.append({'tokens': [], 'pattern': pattern, 'special': []}) -%}
    {%- endfor -%}
    {%- set found = [] -%}
    {%- for token in settings.get('added', []) -%}
        {%- set is_text = token.get('special', false) and not parse_special -%}
        {%- set match = token.get('match', token['content'])[5:] | upper -%}
        {%- set pass = passes[1 if token.get('normalized') else 0] -%}
        {%- do pass['tokens'].append(dict(token, is_text=is_text, match=match)) -%}
        {%- if not is_text -%}
            {%- do found.append(token) -%}
            {%- do pass['special'].append(token) if token.get('special') -%}
        {%- endif -%}
    {%- endfor -%}
    {{ return(passes if found else none) }}
{%- endmacro %}

{# The words of a text and the added tokens in it, see `_text_words`. An expression. #}
{% macro _words_and_added_tokens(text, settings, passes, guard) -%}
    {#- The guard is needed until no pass can find a special token. -#}
    {%- set guards = [guard, guard if guard and passes[1]['special']] -%}
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
{% macro _found_added_tokens(pieces, pass, settings, guard, unguard) -%}
    {%- set tokens = pass['tokens'] -%}
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
        {%- set pattern = pass['pattern'] -%}
        {%- if guard -%}
            {%- set pattern = pattern | replace('}', '}' ~ relama._escaped_letter(guard) ~ '?') -%}
        {%- endif -%}
        {%- set pattern = relama._text_literal(pattern) -%}
        {%- set found = relama._unguarded('cut.found[i]', guard) -%}
        {%- set lists = {'matches': [], 'ids': [], 'lstrip': [], 'rstrip': [], 'single_word': [],
            'is_text': [], 'special': []} -%}
        {%- for token in tokens -%}
            {%- do lists['matches'].append(token['match']) -%}
            {%- do lists['ids'].append(token['id']) -%}
            {%- for flag in ('lstrip', 'rstrip', 'single_word', 'is_text', 'special') -%}
                {%- do lists[flag].append(token['match']) if token.get(flag) -%}
            {%- endfor -%}
        {%- endfor -%}
        {%- set kept = [] -%}
        {%- if lists['is_text'] -%}
            {%- do kept.append('not ' ~ relama._is_one_of(found, lists['is_text'])) -%}
        {%- elif guard and lists['special'] -%}
            {%- do kept.append(
                '(' ~ found ~ ' = cut.found[i] or not '
                ~ relama._is_one_of(found, lists['special']) ~ ')'
            ) -%}
        {%- endif -%}
        {%- if lists['single_word'] -%}
            {%- set letter = '[' ~ settings['word'] ~ ']' -%}
            {%- set before = relama._unguarded("(cut.found[i - 1] || cut.texts[i])", guard) -%}
            {%- set before = before | replace('cut.found[i - 1]', "coalesce(cut.found[i - 1], '')") -%}
            {%- set after = relama._unguarded(
                "(cut.texts[i + 1] || coalesce(cut.found[i + 1], ''))", guard
            ) -%}
            {%- do kept.append(
                '(not ' ~ relama._is_one_of(found, lists['single_word']) ~ ' or not ('
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
        {%- set before = relama._unguarded('cut.found[i - 1]', guard) -%}
        {%- set word.text = 'case when ' ~ relama._is_one_of(before, lists['rstrip'])
            ~ ' then regexp_replace(' ~ word.text ~ ", '^" ~ space ~ "', '') else " ~ word.text
            ~ ' end' -%}
    {%- endif -%}
    {%- if lists['lstrip'] -%}
        {%- set after = relama._unguarded('cut.found[i]', guard) -%}
        {%- set word.text = 'case when ' ~ relama._is_one_of(after, lists['lstrip'])
            ~ ' then regexp_replace(' ~ word.text ~ ", '" ~ space ~ "$', '') else " ~ word.text
            ~ ' end' -%}
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
                    'token_id': cast('[{{ lists['ids'] | join(', ') }}]' as integer[])[
                        list_position(
                            string_split('{{ lists['matches'] | join(' ') }}', ' '),
                            hex(encode({{ relama._unguarded('cut.found[i]', guard) }}))
                        )
                    ]
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
    Whether a text is one of those given as hexadecimal digits. An expression. They are one
    literal: of thousands of literals DuckDB makes as many expressions.
#}
{% macro _is_one_of(text, matches) -%}
    coalesce(list_contains(string_split('{{ matches | join(' ') }}', ' '), hex(encode({{ text }}))), false)
{%- endmacro %}

{# A character as a pattern that matches it. #}
{% macro _escaped_letter(letter) -%}
    \x{{ '{' ~ letter.encode('utf-32-be').hex() ~ '}' }}
{%- endmacro %}

{# A text of the model's `meta`, which has it in hexadecimal digits. #}
{% macro _decoded_text(text) -%}
    {{ return(''.encode().fromhex(text[5:]).decode()) }}
{%- endmacro %}

{# A text as an expression; a literal of SQL, or of YAML, holds no NUL. #}
{% macro _hexadecimal_literal(text) -%}
    decode(unhex('{{ text.encode().hex() }}'))
{%- endmacro %}
