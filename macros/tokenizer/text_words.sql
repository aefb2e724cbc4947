{#
    The words of a text, normalised and split as the tokenizer does before it merges:
    an expression, a list of texts that joined are the normalised text.

    text  an expression of type text
#}
{% macro text_words(text) -%}
    {%- set settings = relama.tokenizer_settings() or {'normalize': [], 'split': []} -%}
    {%- set so_far = namespace(
        words='[' ~ relama.normalized_text(text, settings['normalize']) ~ ']'
    ) -%}
    {%- for step in settings['split'] -%}
        {%- set words -%}
flatten(list_transform(
    {{ so_far.words | indent(4) }},
    lambda part: {{ relama.split_text('part', step) | indent(4) }}
))
        {%- endset -%}
        {%- set so_far.words = words -%}
    {%- endfor -%}
    {{- so_far.words -}}
{%- endmacro %}
