{#
    Answers the rows of `prompt` with completions. The loop over tokens: each round
    chooses the next token of every sequence that has been read to its end.

    settings  max_tokens, temperature, top_k, top_p, seed, stop; see `relama_complete`
#}
{% macro _complete_rows(job, settings) -%}
    {%- set language_model = job['language_model'] -%}
    {%- set head = [
        '(' ~ relama._last_hidden() ~ ')', language_model['head'], language_model['head_storage']
    ] -%}
    {%- set scaled = {
        'multiplier': language_model['logits_multiplier'],
        'softcap': language_model['logits_softcap'],
    } -%}
    {%- set in_lists = language_model['native'] -%}
    {%- set choose -%}
with {% if settings['grammar'] -%}
allowed as materialized (

    {{ relama._allowed_places(language_model, settings) | indent(4) }}

),

{% endif -%}
{% if in_lists -%}
normalised as materialized (

    {{ relama._normalised_lists(
        relama._allowed_lists(head, scaled) if settings['grammar'] else relama._logit_lists(*head, **scaled)
    ) | indent(4) }}

),

logits as (

    {{ relama._best_logits('normalised', settings) | indent(4) }}

),

{% else -%}
logits as (

    {{ relama.logits(*head, many=true, native=language_model['native'], **scaled) | indent(4) }}

),

{% endif -%}
{% if settings['grammar'] and not in_lists -%}
allowed_logits as (

    select l.*
    from logits as l
    inner join (select sequence_id, unnest(token_places) as place from allowed) as a
        on l.sequence_id = a.sequence_id and l.token_id = a.place - 1

),

{% endif -%}
sampling as (

    select
        cast({{ settings['temperature'] }} as double) as temperature,
        {{ settings['top_k'] }} as top_k,
        cast({{ settings['top_p'] }} as double) as top_p,
        {{ settings['seed'] }} as seed

),

chosen as (

    {{ relama.sample(
        'allowed_logits' if settings['grammar'] and not in_lists else 'logits',
        'sampling',
        normalised='normalised' if in_lists
    ) | indent(4) }}

){%- if settings['grammar'] %},

moved as (

    {{ relama._moved('chosen', language_model, settings) | indent(4) }}

)
{%- endif %}

update running as r
set
    token_ids = list_append(r.token_ids, c.token_id),
    logprob = r.logprob + c.logprob
    {%- if settings['grammar'] %},
    state = c.next_state,
    is_closing = r.is_closing or c.is_closing
    {%- endif %}
from {{ 'moved' if settings['grammar'] else 'chosen' }} as c
where r.sequence_id = c.sequence_id
    {%- endset -%}
    {%- do relama._prepare_batch(job, {'choose': choose}) -%}
    {#- The last token of an answer is not read. -#}
    {%- do relama._read_shared_prefix(job, growth=settings['max_tokens'] - 1) -%}
    {%- set finish = relama._finish_completions(language_model, settings) -%}
    {%- set answer = relama._answer_completions(language_model, settings) -%}
    {%- call relama._until(relama._all_answered, job) -%}
        {%- do relama._admit(job) -%}
        {%- do relama._read_tokens(job) -%}
        {%- call relama._run() -%}
execute relama_choose;
{{ finish }}
        {%- endcall -%}
        {%- do relama._leave(job, answer) -%}
        {%- do relama._outgrow(job) -%}
    {%- endcall -%}
{%- endmacro %}

{#
    The logits of the tokens that may follow. A select of (sequence_id, position, logits,
    token_places), which are in the order of `logits`.

    head, scaled  arguments of `_logit_lists`
#}
{% macro _allowed_lists(head, scaled) -%}
select
    l.sequence_id,
    l.position,
    list_select(l.logits, a.token_places) as logits,
    a.token_places
from (

    {{ relama._logit_lists(*head, **scaled) | indent(4) }}

) as l
inner join allowed as a on l.sequence_id = a.sequence_id
{%- endmacro %}

{#
    The logits that `sample` can choose from: those of the best tokens where the temperature
    is 0, of the `top_k` best where these are few. A select of
    (sequence_id, position, token_id, logit).

    normalised  relation, see `_normalised_lists`
#}
{% macro _best_logits(normalised, settings) -%}
    {%- set few = 0 < settings['top_k'] <= 1000 -%}
with elements as (

    select
        sequence_id,
        position,
        largest,
        {% if settings['grammar'] -%}
        unnest(token_places) - 1 as token_id,
        {%- else -%}
        cast(generate_subscripts(logits, 1) - 1 as integer) as token_id,
        {%- endif %}
        unnest(logits) as logit
    from {{ normalised }}

)

select
    e.sequence_id,
    e.position,
    e.token_id,
    e.logit
from elements as e
    {%- if settings['temperature'] == 0 %}
where e.logit = e.largest
    {%- elif few %}
inner join (
    select
        sequence_id,
        position,
        max(logit, {{ settings['top_k'] }})[-1] as least
    from elements
    group by sequence_id, position
) as k on e.sequence_id = k.sequence_id and e.position = k.position and e.logit >= k.least
    {%- endif -%}
{%- endmacro %}

{#
    The statement that finds what is finished, and why, as `generate` does: an end token or
    a stop text, max_tokens, or the end of the context. What a grammar had to close because of
    one of these two has reached its length.
#}
{% macro _finish_completions(language_model, settings) -%}
    {%- set stop = relama._stop_place(settings) -%}
    {%- set ended = "if(r.is_closing, 'length', 'stop')" if settings['grammar'] else "'stop'" -%}
insert into finished
select
    sequence_id,
    relama_hash,
    finish_reason
from (
    select
        r.sequence_id,
        r.relama_hash,
        case
            when {{ relama._is_ended(language_model) }} then {{ ended }}
            {%- if stop %}
            when (
                select {{ stop }} is not null
                from (select {{ relama._completion(language_model) }} as body) as t
            ) then 'stop'
            {%- endif %}
            {%- if settings['grammar'] %}
            when not exists (select 1 from grammar as g where g.state = r.state) then {{ ended }}
            {%- endif %}
            when len(r.token_ids) - r.prompt_tokens >= {{ settings['max_tokens'] }} then 'length'
            when len(r.token_ids) > {{ language_model['max_position_embeddings'] }} then 'length'
        end as finish_reason
    from running as r
    where len(r.token_ids) > r.prompt_tokens and r.has_read = len(r.token_ids) - 1
)
where finish_reason is not null
{%- endmacro %}

{# The columns of an answer, and their types. #}
{% macro _completion_columns(settings) -%}
    {%- set columns = {
        'completion': 'varchar',
        'finish_reason': 'varchar',
        'prompt_tokens': 'bigint',
        'completion_tokens': 'bigint',
        'logprob': 'double',
    } -%}
    {%- for column in settings.get('columns', []) -%}
        {%- if (column['quoted'][1:-1] | lower) in (columns | list) + ['relama_hash', 'error'] -%}
            {%- do exceptions.raise_compiler_error(
                model.name ~ ': ' ~ settings['form']['name'] ~ ' has the field ' ~ column['quoted']
                ~ ', which is a column of the answer; give the field another name.'
            ) -%}
        {%- endif -%}
        {%- do columns.update({column['quoted']: column['type']}) -%}
    {%- endfor -%}
    {{ return(columns) }}
{%- endmacro %}

{# The statement that answers what is finished. #}
{% macro _answer_completions(language_model, settings) -%}
    {%- set stop = relama._stop_place(settings) -%}
insert into answer by name
select
    t.relama_hash,
    {{ 'coalesce(left(t.body, ' ~ stop ~ ' - 1), t.body)' if stop else 't.body' }} as completion,
    t.finish_reason,
    t.prompt_tokens,
    t.completion_tokens,
    t.logprob
    {%- for column in settings.get('columns', []) %},
    {{ column['expression'] }} as {{ column['quoted'] }}
    {%- endfor %}
from (
    select
        r.relama_hash,
        f.finish_reason,
        r.prompt_tokens,
        len(r.token_ids) - r.prompt_tokens as completion_tokens,
        r.logprob,
        {{ relama._completion(language_model) }} as body
    from running as r
    inner join finished as f on r.sequence_id = f.sequence_id
) as t
{%- endmacro %}

{# Whether the last token of a running sequence ends it. A condition. #}
{% macro _is_ended(language_model) -%}
    list_contains({{ language_model['end_token_ids'] or 'cast([] as integer[])' }}, r.token_ids[-1])
{%- endmacro %}

{# The text that a running sequence has generated, without the token that ends it. An expression. #}
{% macro _completion(language_model) -%}
    {{ relama.detokenize(
        'case when ' ~ relama._is_ended(language_model) ~ ' then r.token_ids[r.prompt_tokens + 1:-2] '
        ~ 'else r.token_ids[r.prompt_tokens + 1:] end'
    ) }}
{%- endmacro %}

{# Where the first of the stop texts begins in `t.body`, NULL without one; none without any. #}
{% macro _stop_place(settings) -%}
    {%- set stops = [] -%}
    {%- for text in settings['stop'] -%}
        {%- do stops.append('nullif(strpos(t.body, ' ~ relama._text_literal(text) ~ '), 0)') -%}
    {%- endfor -%}
    {{ return('least(' ~ stops | join(', ') ~ ', null)' if stops else none) }}
{%- endmacro %}
