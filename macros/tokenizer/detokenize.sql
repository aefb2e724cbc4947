{#
    The text of token ids, as the model's own tokenizer decodes them: special tokens are
    left out, and bytes that are no character of UTF-8 become U+FFFD. An expression of
    type text, NULL for NULL.

        select {{ relama.detokenize('token_ids') }} as body from tokenized

    column  an expression of type integer[]
    model   the package of the language model, where there are several
#}
{% macro detokenize(column, model=none) -%}
    {{ return(adapter.dispatch('detokenize', 'relama')(column, model)) }}
{%- endmacro %}

{# Some hundreds of tokens at a time, see `tokenize`. #}
{% macro duckdb__detokenize(column, model=none) -%}
    {%- set settings = relama._tokenizer_settings(model) or {} -%}
    {%- set tokens = 'relama__tokens' -%}
    {%- if settings.get('opening') -%}
        {%- set tokens = relama._opened_tokens(tokens, settings.get('openings', {})) -%}
    {%- endif -%}
    {%- set digits, all_digits, ranges = 'hex(v.bytes)', 'relama__digits', [] -%}
    {%- for first, last in settings.get('byte_runs', []) -%}
        {%- do ranges.append('v.token_id between ' ~ first ~ ' and ' ~ last) -%}
    {%- endfor -%}
    {%- if ranges -%}
        {%- set digits = "if(" ~ ranges | join(' or ') ~ ", 'x', '') || hex(v.bytes)" -%}
        {%- set all_digits = relama._byte_runs('relama__digits') -%}
    {%- endif -%}
    {%- set text = relama._decoded_bytes(all_digits) -%}
    {%- if settings.get('strip') -%}
        {%- set text = "regexp_replace(" ~ text ~ ", '^ ', '')" -%}
    {%- endif -%}
(
    select
        case
            when relama__place is not null
                then
                    {{ text | indent(20) }}
        end as relama__body
    from (
        select
            relama__place,
            array_to_string({{ tokens }}, '{{ settings.get('separator', '') }}') as relama__digits
        from (
            select
                max(relama__place) as relama__place,
                coalesce(
                    flatten(list(relama__tokens order by relama__place)), []
                ) as relama__tokens
            from (
                select
                    relama__place,
                    coalesce((
                        select list({{ digits }} order by i.place) as tokens
                        from {{ relama._tokenizer_table('vocabulary', model) }} as v
                        inner join (
                            select
                                unnest(relama__words) as token_id,
                                generate_subscripts(relama__words, 1) as place
                        ) as i
                            on v.token_id = i.token_id
                        where not v.is_special
                    ), []) as relama__tokens
                from (
                    {{ relama._list_chunks('relama__text', column) | indent(20) }}
                ) as relama__chunk
            ) as relama__pieces
        ) as relama__listed
    ) as relama__joined
)
{%- endmacro %}

{#
    Hexadecimal digits in which those of a byte token follow an `x`, without it: what a run of
    such tokens spells, or U+FFFD for each where it spells no text, as the decoder
    `ByteFallback` has it. An expression.
#}
{% macro _byte_runs(digits) -%}
array_to_string(list_transform(
    regexp_extract_all({{ digits }}, '(?:x..)+|[^x]+'),
    lambda run: case
        when not starts_with(run, 'x') then run
        when try(decode(unhex(replace(run, 'x', '')))) is null
            then regexp_replace(run, 'x..', 'EFBFBD', 'g')
        else replace(run, 'x', '')
    end
), '')
{%- endmacro %}

{#
    Tokens of which the first has lost its signs of a space, as the decoder `Metaspace` has
    it. An expression, a list of hexadecimal digits.
#}
{% macro _opened_tokens(tokens, openings) -%}
list_transform(
    {{ tokens }},
    lambda token, place: case
        when place > 1 then token
        {%- for digits, opening in openings.items() %}
        when token = '{{ digits }}' then '{{ opening }}'
        {%- endfor %}
        else array_to_string(list_filter(
            regexp_extract_all(token, '..'), lambda byte: byte <> '20'
        ), '')
    end
)
{%- endmacro %}
