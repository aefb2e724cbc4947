{#
    The chat template around a prompt. A template is a program of the checkpoint's, so it is
    run, not imitated: a Python job of dbt-duckdb's renders the prompts of the temporary table
    `chat_prompt` into

        chat_text  (prompt, body, is_dated, error): the rendered text; whether it holds the
                   date; or what went wrong

    dbt takes a Python job from a materialization only, and not from a macro that it calls:

        {% call statement('chat', language='python') %}{{ relama._render_chat(...) }}{% endcall %}
#}
{% macro _render_chat(job, settings) -%}
    {{ return(relama._chat_job(job, settings, 'render_prompts', {})) }}
{%- endmacro %}

{# Fills `chat_prompt` from `asked_row`, and chooses the guard of special tokens. #}
{% macro _open_chat(job, settings) -%}
    {%- call relama._run() -%}
create or replace temporary table chat_prompt as
select distinct cast(prompt as varchar) as prompt
from asked_row
where cast(prompt as varchar) <> '';
create or replace temporary table chat_text (
    prompt varchar, body varchar, is_dated boolean, error varchar
)
    {%- endcall -%}
    {%- do job.update({'guard': none if settings['parse_special'] else relama._chat_guard(settings)}) -%}
{%- endmacro %}

{#
    A character that no prompt has, to keep what a prompt says from being read as a special
    token, see `tokenize`: one of Unicode's noncharacters.
#}
{% macro _chat_guard(settings) -%}
    {%- for code in range(64976, 65008) -%}
        {%- set guard = '%c' | format(code) -%}
        {%- if
            guard not in (settings['system'] or '')
            and guard not in settings.get('before', '') ~ settings.get('after', '')
            and not relama._value(
                'select count(*) from chat_prompt where contains(prompt, chr(' ~ code ~ '))'
            )
        -%}
            {{ return(guard) }}
        {%- endif -%}
    {%- endfor -%}
    {%- do exceptions.raise_compiler_error(
        model.name ~ ': the prompts have all 32 noncharacters from U+FDD0 to U+FDEF, of which '
        ~ 'one is needed to tell their text from special tokens; set parse_special=true.'
    ) -%}
{%- endmacro %}

{#
    Renders the prompts of `long_prompt` shorter, until the longest ending that fits is found,
    whose tokens go to `shortened_prompt`, or the template refuses one, which goes to
    `refused_prompt`. What is cut off is whole tokens of the prompt's own; the template stays.

    A guess, `cut`, is followed by one that is corrected by as many tokens as were too many or
    too few; after two of them `least`, which is known not to suffice, and `most`, which does,
    are halved.
#}
{% macro _shorten_chat(job, settings) -%}
    {#-
        Bytes that are no character yet, U+FFFD, are not dropped. Where tokens do not spell the
        prompt, an unknown one for instance, it is cut in proportion.
    -#}
    {%- set dropped = 'rtrim(' ~ relama.detokenize('own_ids[:cut]') ~ ', chr(65533))' -%}
    {%- set shorten -%}
create or replace temporary table shortening as
select
    *,
    case
        when cut >= len(own_ids) then ''
        when is_spelled and starts_with(prompt, dropped) then substr(prompt, length(dropped) + 1)
        else right(prompt, length(prompt) * (len(own_ids) - cut) // len(own_ids))
    end as shorter
from (
    select *, {{ dropped }} as dropped, {{ relama.detokenize('own_ids') }} = prompt as is_spelled
    from long_prompt
) as cutting;
insert into chat_prompt
select distinct shorter
from shortening
where shorter not in (select prompt from chat_text)
    {%- endset -%}
    {%- set measure -%}
insert into refused_prompt
{{ relama._refused_chats(settings, 'shortening', 'shorter') }};
create or replace temporary table measured as
select
    * exclude (fits),
    if(fits, least, cut) as new_least,
    if(fits, cut, most) as new_most,
    if(fits, token_ids, coalesce(best_ids, token_ids)) as new_best_ids
from (
    select *, len(token_ids) <= room as fits
    from (
        select s.*, {{ relama._chat_token_ids(job, 'c.body') | indent(8) }} as token_ids
        from shortening as s
        inner join chat_text as c on s.shorter = c.prompt
        where c.error is null
    ) as tokenized
) as compared;
insert into shortened_prompt
select relama_hash, new_best_ids
from measured
where len(token_ids) = room or new_most - new_least <= 1;
create or replace temporary table long_prompt as
select
    relama_hash,
    prompt,
    own_ids,
    room,
    new_least as least,
    new_most as most,
    new_best_ids as best_ids,
    greatest(new_least + 1, least(new_most - 1, if(
        guesses < 2, cut + len(token_ids) - room, (new_least + new_most) // 2
    ))) as cut,
    guesses + 1 as guesses
from measured
where len(token_ids) <> room and new_most - new_least > 1
    {%- endset -%}
    {{ return(relama._chat_job(
        job, settings, 'render_shortened', {'shorten': shorten, 'measure': measure}
    )) }}
{%- endmacro %}

{# The tokens of a rendered text of `chat_text` as c. An expression of type integer[]. #}
{% macro _chat_token_ids(job, body) -%}
    {{ return(relama.tokenize(body, parse_special=true, guard=job['guard'])) }}
{%- endmacro %}

{#
    The Python of a job of the module `chat_jinja`.

    function    of the module, which takes a connection and settings
    statements  mapping of names to SQL statements for it
#}
{% macro _chat_job(job, settings, function, statements) -%}
    {%- set chat = job['language_model']['chat'] -%}
    {%- set given = {
        'template': chat['template'],
        'special_tokens': chat['special_tokens'],
        'template_args': relama._encoded(settings['template_args']),
        'system': relama._encoded(settings['system']) if settings['system'] is not none else none,
        'date': relama._encoded(settings['template_date']) if settings['template_date'] else none,
        'guard': relama._encoded(job['guard']) if job['guard'] else none,
        'guarded': [],
        'before': relama._encoded(settings.get('before', '')),
        'after': relama._encoded(settings.get('after', '')),
    } -%}
    {%- for token in relama._tokenizer_settings()['added'] -%}
        {%- if token.get('special') and job['guard'] -%}
            {%- do given['guarded'].append(token['content']) -%}
        {%- endif -%}
    {%- endfor -%}
    {%- for name in statements -%}
        {%- do given.update({name: relama._encoded(statements[name])}) -%}
    {%- endfor -%}
    {{ return(relama._python_job([relama._chat_jinja()], function, given)) }}
{%- endmacro %}

{#
    What is asked with prompts that the template refuses, and why: a select, see `_fail_rows`.

    relation  what has the prompts, and relama_hash
    column    of the prompts
#}
{% macro _refused_chats(settings, relation, column) -%}
select
    r.relama_hash,
    c.error || '; {{ 'put the system message into the prompt, or ' if settings['system'] }}set chat=false.'
        as error
from {{ relation }} as r
inner join chat_text as c on r.{{ column }} = c.prompt
where c.error is not null
{%- endmacro %}

{# Warns where the answers depend on today's date. #}
{% macro _check_chat(job, settings) -%}
    {%- if
        not settings['template_date'] and not job.get('is_dated')
        and relama._value('select bool_or(is_dated) from chat_text')
    -%}
        {%- do job.update({'is_dated': true}) -%}
        {%- do exceptions.warn(
            model.name ~ ": the chat template holds today's date, so rows are answered again on "
            ~ "another day; config(template_date='" ~ modules.datetime.date.today()
            ~ "') pins it."
        ) -%}
    {%- endif -%}
{%- endmacro %}
