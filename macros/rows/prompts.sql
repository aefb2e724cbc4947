{#
    The prompts of the table `request` as tokens, in the temporary table `prompted_request`:
    `head`, `content` and `tail`, of which `content` is what may be cut. Around a prompt is the
    model's chat template where `chat` is true, else what the tokenizer puts around a text.
    The text of a prompt becomes tokens of text, whatever it says, unless `parse_special` is
    true. What is put around all prompts, see `_frame`, is one text with each of them. `target_ids`
    are the tokens of a target, which comes after the prompt: nothing that ends a text is between.
#}
{% macro _tokenize_prompts(job, settings, has_target=false) -%}
    {%- set language_model = job['language_model'] -%}
    {%- set special = settings['parse_special'] -%}
    {%- set opening, closing = language_model['opening_ids'], language_model['closing_ids'] -%}
    {%- if settings['chat'] or has_target -%}
        {%- set closing = [] -%}
    {%- endif -%}
    {%- if settings['chat'] -%}
        {%- set opening = [] -%}
    {%- endif -%}
    {%- call relama._run() -%}
create temporary table prompted_request as
select
    *,
    {%- if special and opening == [language_model['bos_token_id']] %}
    case when content[1] = {{ opening[0] }} then [] else {{ opening }} end as head,
    {%- else %}
    cast({{ opening }} as integer[]) as head,
    {%- endif %}
    cast({{ closing }} as integer[]) as tail
from (
    select
        r.*,
        {%- if settings['chat'] %}
        {{ relama._chat_token_ids(job, relama._shortened('c.body', language_model)) | indent(8) }} as content,
        {%- else %}
        {{ relama.tokenize(
            relama._framed(settings, relama._shortened('r.prompt', language_model)),
            parse_special=special
        ) | indent(8) }} as content,
        {%- endif %}
        {% if has_target -%}
        {{ relama.tokenize(relama._shortened('r.target', language_model)) | indent(8) }} as target_ids
        {%- else -%}
        cast([] as integer[]) as target_ids
        {%- endif %}
    from request as r
    {%- if settings['chat'] %}
    inner join chat_text as c on r.prompt = c.prompt
    {%- endif %}
) as tokenized
    {%- endcall -%}
    {%- do relama._check_token_ids(job) -%}
{%- endmacro %}

{# A token that the embedding has no row for is an error before anything is computed. #}
{% macro _check_token_ids(job) -%}
    {%- set vocab_size = job['language_model']['vocab_size'] -%}
    {%- set beyond = relama._rows(
        'select list_max(head || content || tail || target_ids) as token_id, prompt'
        ~ ' from prompted_request where token_id >= ' ~ vocab_size ~ ' limit 1'
    ) -%}
    {%- if beyond | length -%}
        {%- do exceptions.raise_compiler_error(
            model.name ~ ': the token id ' ~ beyond[0][0] ~ ' is outside the vocabulary of '
            ~ vocab_size ~ ' (the prompt begins ' ~ (beyond[0][1][:40] | tojson) ~ ').'
        ) -%}
    {%- endif -%}
{%- endmacro %}

{#
    The end of a text, where the text is so long that it cannot fit the context whatever its
    tokens are: what is before would be cut off anyway, or the row is an error.
#}
{% macro _shortened(column, language_model) -%}
    {%- set longest -%}
select max(octet_length(bytes)) from {{ relama._tokenizer_table('vocabulary') }}
    {%- endset -%}
    {%- set tokens = language_model['max_position_embeddings'] + 1 -%}
    right({{ column }}, {{ tokens * relama._value(longest) }})
{%- endmacro %}

{# Tokens of a prompt, of what is around it and of its target. An expression. #}
{% macro _prompted_length() -%}
    {{ return('len(head) + len(content) + len(tail) + len(target_ids)') }}
{%- endmacro %}

{#
    Whether rendered prompts are to be shortened, which are then in `long_prompt`: see
    `_shorten_chat`. Other prompts are cut where their tokens are.

    room   tokens that a prompt may have
#}
{% macro _must_shorten(job, settings, room) -%}
    {%- if not settings['chat'] or settings['on_overflow'] != 'truncate' -%}
        {{ return(false) }}
    {%- endif -%}
    {%- set length = relama._prompted_length() -%}
    {%- set prompt = relama._shortened('prompt', job['language_model']) -%}
    {%- call relama._run() -%}
create temporary table long_prompt as
select
    relama_hash,
    prompt,
    own_ids,
    room,
    {#- Of a text that was not tokenized whole, it is not known yet by how much it is too long. #}
    if(is_whole, 0, -1) as least,
    len(own_ids) + 1 as most,
    cast(null as integer[]) as best_ids,
    if(is_whole, least(excess, len(own_ids)), 0) as cut,
    0 as guesses
from (
    select *, {{ relama.tokenize('prompt') | indent(8) }} as own_ids
    from (
        select
            relama_hash,
            {{ prompt }} as prompt,
            {{ room }} - len(target_ids) as room,
            {{ length }} - {{ room }} as excess,
            prompt = {{ prompt }} as is_whole
        from prompted_request
    ) as measured
    where excess > 0
) as long;
create temporary table shortened_prompt (relama_hash varchar, token_ids integer[])
    {%- endcall -%}
    {{ return(relama._value('select count(*) from long_prompt') > 0) }}
{%- endmacro %}

{#
    Tokens of the longest text of a prompt that is too long, of which `prompted_request` may have
    the end only: see `_shortened`.
#}
{% macro _whole_length(job, settings, room) -%}
    {%- set special = settings['parse_special'] -%}
    {%- set tokens = relama._chat_token_ids(job, 'body') if settings['chat']
        else relama.tokenize(relama._framed(settings, 'body'), parse_special=special) -%}
    {{ return(relama._value(
        'select around + len(' ~ tokens ~ ') from ('
        ~ 'select len(head) + len(tail) + len(target_ids) as around, '
        ~ ('c.body' if settings['chat'] else 'p.prompt as body') ~ ' from prompted_request as p '
        ~ ('inner join chat_text as c on p.prompt = c.prompt ' if settings['chat'] else '')
        ~ 'where ' ~ relama._prompted_length() ~ ' > ' ~ room
        ~ ' order by length(body) desc limit 1) as longest'
    )) }}
{%- endmacro %}

{#
    What is wrong with prompts, of those that are longer than there is room for: none where
    there are none, or where `on_overflow` is truncate and they have been cut. They are
    taken out of `prompted_request`: the others are answered.

    room   tokens that a prompt may have
#}
{% macro _overflowing(job, settings, room) -%}
    {%- set length = relama._prompted_length() -%}
    {%- if settings['on_overflow'] == 'truncate' -%}
        {%- call relama._run() -%}
            {%- if settings['chat'] %}
update prompted_request as p
set content = s.token_ids
from shortened_prompt as s
where p.relama_hash = s.relama_hash
            {%- else %}
                {%- if settings.get('before') or settings.get('after') %}
{{ relama._keep_frame(settings, length ~ ' > ' ~ room) }};
                {%- endif %}
update prompted_request
set content = content[1 + {{ length }} - {{ room }}:]
where {{ length }} > {{ room }}
            {%- endif %}
        {%- endcall -%}
        {%- if settings['chat'] -%}
            {%- do relama._check_chat(job, settings) -%}
            {%- do relama._check_token_ids(job) -%}
        {%- endif -%}
    {%- endif -%}
    {%- set counting -%}
select
    count(*),
    max({{ length }})
from prompted_request
where {{ length }} > {{ room }}
    {%- endset -%}
    {%- set count, longest = relama._rows(counting)[0].values() -%}
    {%- if not count -%}
        {{ return(none) }}
    {%- endif -%}
    {%- set longest = [longest, relama._whole_length(job, settings, room)] | max -%}
    {%- set key = relama._unique_key() -%}
    {%- set too_long -%}
select {{ key | join(', ') if key else 'left(cast(prompt as varchar), 40)' }}
from input_row
where relama_hash in ({{ relama._row_hashes(
    job, 'select relama_hash from prompted_request where ' ~ length ~ ' > ' ~ room
) }})
order by 1
limit 3
    {%- endset -%}
    {%- set names = [] -%}
    {%- for row in relama._rows(too_long) -%}
        {%- do names.append(row.values() | join(', ')) -%}
    {%- endfor -%}
    {%- call relama._run() -%}
delete from prompted_request where {{ length }} > {{ room }}
    {%- endcall -%}
    {{ return(
        model.name ~ ': ' ~ count ~ ' prompts are longer than the ' ~ room
        ~ ' tokens that there is room for, the longest has ' ~ longest ~ '; '
        ~ (key | join(', ') if key else 'prompt') ~ ': ' ~ names | join('; ')
        ~ (', ...' if count > 3 else '') ~ ". Every other row is answered. "
        ~ "on_overflow='truncate' cuts prompts from the left."
    ) }}
{%- endmacro %}
