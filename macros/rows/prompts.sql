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
create or replace temporary table prompted_request as
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

{# A token that the embedding has no row for fails before anything is computed. #}
{% macro _check_token_ids(job) -%}
    {%- set vocab_size = job['language_model']['vocab_size'] -%}
    {%- set beyond -%}
select
    relama_hash,
    'The token id ' || list_max(head || content || tail || target_ids)
    || ' is outside the vocabulary of {{ vocab_size }}.' as error
from prompted_request
where list_max(head || content || tail || target_ids) >= {{ vocab_size }}
    {%- endset -%}
    {%- do relama._fail_rows(job, 'prompted_request', beyond) -%}
{%- endmacro %}

{#
    The end of a text, where the text is so long that it cannot fit the context whatever its
    tokens are: what is before would be cut off anyway, or the row is an error.
#}
{% macro _shortened(column, language_model) -%}
    right({{ column }}, {{ relama._longest_text(language_model) }})
{%- endmacro %}

{# Letters that a text may have and still fit the context: one token each of the longest. #}
{% macro _longest_text(language_model) -%}
    {%- set longest -%}
select max(octet_length(bytes)) from {{ relama._tokenizer_table('vocabulary') }}
    {%- endset -%}
    {{ return((language_model['max_position_embeddings'] + 1) * relama._value(longest)) }}
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
create or replace temporary table long_prompt as
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
create or replace temporary table shortened_prompt (relama_hash varchar, token_ids integer[]);
create or replace temporary table refused_prompt (relama_hash varchar, error varchar)
    {%- endcall -%}
    {{ return(relama._value('select count(*) from long_prompt') > 0) }}
{%- endmacro %}

{#
    Cuts prompts that are longer than there is room for where `on_overflow` is truncate; otherwise
    their rows fail.

    room   tokens that a prompt may have
#}
{% macro _fit_prompts(job, settings, room) -%}
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
            {%- do relama._fail_rows(job, 'prompted_request', 'select * from refused_prompt') -%}
            {%- do relama._check_chat(job, settings) -%}
            {%- do relama._check_token_ids(job) -%}
        {%- endif -%}
    {%- endif -%}
    {#- Of a text that was not tokenized whole, what a chat template adds included. -#}
    {%- set is_whole = 'length(prompt) < ' ~ relama._longest_text(job['language_model']) // 2 -%}
    {%- set too_long -%}
select
    relama_hash,
    'The prompt has ' || if({{ is_whole }}, '', 'at least ') || {{ length }}
    || ' tokens, and there is room for {{ room }}; on_overflow=''truncate'' would cut it.' as error
from prompted_request
where {{ length }} > {{ room }}
    {%- endset -%}
    {%- do relama._fail_rows(job, 'prompted_request', too_long) -%}
{%- endmacro %}
