{#
    The words of a text, normalised and split as the tokenizer does before it merges:
    an expression, a list of (word, token_id), of which one is NULL. `token_id` is an
    added token.

    text  a column of type text
    parse_special, guard, model  see `tokenize`
#}
{% macro _text_words(text, parse_special=false, guard=none, model=none) -%}
    {%- set settings = relama._tokenizer_settings(model) or {'normalize': [], 'split': []} -%}
    {%- set words -%}
list_transform(
    {{ relama._split_words(
        '[' ~ relama._normalized_text(text, settings['normalize']) ~ ']', settings
    ) | indent(4) }},
    lambda word: {'word': word, 'token_id': cast(null as integer)}
)
    {%- endset -%}
    {%- set passes = relama._added_token_passes(settings, parse_special) -%}
    {%- if not passes -%}
        {{- words -}}
    {%- else -%}
        {{- relama._words_and_added_tokens(text, settings, passes, guard) -}}
    {%- endif -%}
{%- endmacro %}

{#
    Each of a list of texts split by the tokenizer's steps: a list of words.

    is_first  whether this is where the whole text begins, an expression
#}
{% macro _split_words(texts, settings, is_first='true') -%}
    {%- set so_far = namespace(words=texts) -%}
    {%- for step in settings['split'] -%}
        {%- set words -%}
            {%- if 'operations' in step -%}
list_transform(
    {{ so_far.words | indent(4) }},
    lambda part: {{ relama._normalized_text('part', step['operations'], is_first) | indent(4) }}
)
            {%- else -%}
flatten(list_transform(
    {{ so_far.words | indent(4) }},
    lambda part: {{ relama._split_text('part', step) | indent(4) }}
))
            {%- endif -%}
        {%- endset -%}
        {%- set so_far.words = words -%}
    {%- endfor -%}
    {{- so_far.words -}}
{%- endmacro %}
