{#
    Each distinct word in the letters of the tokenizer's alphabet, bytes or characters,
    before anything is merged. A select of (word, symbols).

    words  relation with a column word
#}
{% macro _spelled_words(words, model=none) -%}
    {#- dbt learns what a model depends on before it knows the settings. -#}
    {%- set vocabulary = relama._tokenizer_table('vocabulary', model) -%}
    {%- set settings = relama._tokenizer_settings(model) or {} -%}
    {%- set whole_words = settings.get('whole_words') -%}
    {%- set unknown = settings.get('unknown') -%}
    {%- set is_bytes = settings.get('alphabet') == 'bytes' -%}
with letters as (

    select
        word,
        unnest(letters) as letter,
        generate_subscripts(letters, 1) as place
    from (
        select
            word,
            {%- if is_bytes %}
            regexp_extract_all(hex(encode(word)), '..') as letters
            {%- else %}
            regexp_extract_all(word, '(?s).') as letters
            {%- endif %}
        from {{ words }}
        where word is not null
        group by word
    ) as taken_apart

),

{% if whole_words -%}
whole as (

    select
        w.word,
        {{ relama.token_symbol('v.token_id') }} as symbols
    from {{ vocabulary }} as v
    inner join (select distinct word from {{ words }} where token_id is null) as w
        on v.bytes = encode(w.word)
        {%- if settings.get('whole_also') %}
        and (not v.is_added or v.token_id in ({{ settings['whole_also'] | join(', ') }}))
        {%- else %}
        and not v.is_added
        {%- endif %}
        {%- if settings.get('whole_never') %}
        and v.token_id not in ({{ settings['whole_never'] | join(', ') }})
        {%- endif %}

),

{% endif -%}
spelled as (

    select
        l.word,
        l.place,
        {%- if settings.get('first_byte') is not none and not is_bytes %}
        coalesce(
            a.symbol,
            {{ relama._byte_symbols('l.letter', settings.get('first_byte', 0)) | indent(12) }}
        ) as symbol
        {%- elif unknown is not none and not is_bytes %}
        coalesce(
            a.symbol,
            {{ relama.token_symbol(unknown or 0) }}
        ) as symbol
        {%- else %}
        a.symbol
        {%- endif %}
    from letters as l
    left join {{ relama._tokenizer_table('alphabet', model) }} as a on l.letter = a.letter
    {%- if whole_words %}
    where l.word not in (select word from whole)
    {%- endif %}

)

select
    word,
    {%- if unknown is not none and settings.get('fuse_unknown') %}
    regexp_replace(
        string_agg(symbol, '' order by place),
        '(' || {{ relama.token_symbol(unknown) }} || ')+',
        {{ relama.token_symbol(unknown) }},
        'g'
    ) as symbols
    {%- else %}
    string_agg(symbol, '' order by place) as symbols
    {%- endif %}
from spelled
where symbol is not null
group by word
{%- if whole_words %}

union all

select
    word,
    symbols
from whole
{%- endif %}
{%- endmacro %}
