{#
    Answers the rows of `prompt` with completions. The loop over tokens: each round
    chooses the next token of every sequence that has been read to its end.

    settings  max_tokens, temperature, top_k, top_p, seed, stop; see `relama_complete`
#}
{% macro _complete_rows(job, settings) -%}
    {%- set language_model = job['language_model'] -%}
    {%- set choose -%}
with logits as (

    {{ relama.logits(
        '(' ~ relama._last_hidden() ~ ')',
        language_model['head'],
        language_model['head_storage'],
        many=true,
        native=language_model['native']
    ) | indent(4) }}

),

{% if settings['grammar'] -%}
allowed_logits as (

    {{ relama._allowed_logits('logits', settings['max_tokens']) | indent(4) }}

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
        'allowed_logits' if settings['grammar'] else 'logits', 'sampling'
    ) | indent(4) }}

)

update running as r
set
    token_ids = list_append(r.token_ids, chosen.token_id),
    logprob = r.logprob + chosen.logprob
    {%- if settings['grammar'] %},
    state = (
        select g.next_state from grammar as g
        where g.state = r.state and g.token_id = chosen.token_id
    )
    {%- endif %}
from chosen
where r.sequence_id = chosen.sequence_id
    {%- endset -%}
    {%- do relama._prepare_batch(job, {'choose': choose}) -%}
    {%- do relama._read_shared_prefix(job) -%}
    {%- call relama._until(relama._all_answered, job) -%}
        {%- do relama._admit(job) -%}
        {%- do relama._read_tokens(job) -%}
        {%- call relama._run() -%}
execute relama_choose;
{{ relama._finish_completions(language_model, settings) }}
        {%- endcall -%}
        {%- do relama._leave(job) -%}
    {%- endcall -%}
{%- endmacro %}

{#
    The statements that find what is finished, and why, as `generate` does: an end token or
    a stop text, max_tokens, or the end of the context.
#}
{% macro _finish_completions(language_model, settings) -%}
    {%- set ends = language_model['end_token_ids'] -%}
    {%- set generated = 'r.token_ids[r.prompt_tokens + 1:]' -%}
    {%- set ended = 'list_contains(' ~ (ends or 'cast([] as integer[])') ~ ', r.token_ids[-1])' -%}
    {%- set words = "case when " ~ ended ~ " then r.token_ids[r.prompt_tokens + 1:-2] else "
        ~ generated ~ " end" -%}
    {%- set stops = [] -%}
    {%- for text in settings['stop'] -%}
        {%- do stops.append('nullif(strpos(t.body, ' ~ relama._text_literal(text) ~ '), 0)') -%}
    {%- endfor -%}
    {%- set stop = 'least(' ~ stops | join(', ') ~ ', null)' if stops else 'null' -%}
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
            when {{ ended }} then 'stop'
            {%- if settings['stop'] %}
            when (
                select {{ stop }} is not null
                from (select {{ relama.detokenize(words) }} as body) as t
            ) then 'stop'
            {%- endif %}
            {%- if settings['grammar'] %}
            when not exists (select 1 from grammar as g where g.state = r.state) then 'stop'
            {%- endif %}
            when len(r.token_ids) - r.prompt_tokens >= {{ settings['max_tokens'] }} then 'length'
            when len(r.token_ids) > {{ language_model['max_position_embeddings'] }} then 'length'
        end as finish_reason
    from running as r
    where len(r.token_ids) > r.prompt_tokens and r.has_read = len(r.token_ids) - 1
)
where finish_reason is not null;
insert into answer
select
    t.relama_hash,
    {{ 'coalesce(left(t.body, ' ~ stop ~ ' - 1), t.body)' if stops else 't.body' }} as completion,
    t.finish_reason,
    t.prompt_tokens,
    t.completion_tokens,
    t.logprob
from (
    select
        r.relama_hash,
        f.finish_reason,
        r.prompt_tokens,
        len(r.token_ids) - r.prompt_tokens as completion_tokens,
        r.logprob,
        {{ relama.detokenize(words) }} as body
    from running as r
    inner join finished as f on r.sequence_id = f.sequence_id
) as t
{%- endmacro %}
