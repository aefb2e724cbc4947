{#
    Answers the rows of `prompt` with the log-likelihood of their targets: the sum of
    ln p(token | what is before it) over the tokens of the target.
#}
{% macro _score_rows(job) -%}
    {%- call relama._run() -%}
create temporary table token_score (sequence_id bigint, position integer, logprob double);
create temporary table scoring (
    place bigint, sequence_id bigint, position integer, vector real[]
)
    {%- endcall -%}
    {%- do relama._prepare_batch(job, {'score': relama._target_tokens(job['language_model'])}) -%}
    {%- do relama._read_shared_prefix(job) -%}
    {%- call relama._until(relama._all_answered, job) -%}
        {%- do relama._admit(job) -%}
        {%- call relama._until(relama._has_read_all, job) -%}
            {%- do relama._read_tokens(job) -%}
            {%- do relama._score_step(job) -%}
        {%- endcall -%}
        {%- if not job['is_stopped'] -%}
            {%- call relama._run() -%} {{ relama._finish_scores() }} {%- endcall -%}
            {%- do relama._leave(job) -%}
        {%- endif -%}
    {%- endcall -%}
{%- endmacro %}

{# The logits of a step, 16 positions at a time: the vocabulary is long. #}
{% macro _score_step(job) -%}
    {%- call relama._run() -%}
delete from scoring;
insert into scoring
select
    row_number() over () - 1 as place,
    s.sequence_id,
    s.position,
    s.vector
from step as s
inner join running as r on s.sequence_id = r.sequence_id
where
    s.layer is null
    and s.position + 1 >= r.prompt_tokens
    and s.position + 1 < len(r.token_ids)
    {%- endcall -%}
    {%- for first in range(0, relama._value('select count(*) from scoring'), 16) -%}
        {%- call relama._run() -%} execute relama_score({{ first }}) {%- endcall -%}
    {%- endfor -%}
{%- endmacro %}

{% macro _target_tokens(language_model) -%}
insert into token_score
with hidden as (

    select
        sequence_id,
        position,
        vector
    from scoring
    where place >= cast($1 as bigint) and place < cast($1 as bigint) + 16

),

logits as materialized (

    {{ relama.logits(
        'hidden',
        language_model['head'],
        language_model['head_storage'],
        many=true,
        native=language_model['native'],
        multiplier=language_model['logits_multiplier'],
        softcap=language_model['logits_softcap']
    ) | indent(4) }}

),

normalised as (

    {{ relama.log_normaliser('logits') | indent(4) }}

)

select
    l.sequence_id,
    l.position,
    l.logit - n.log_normaliser as logprob
from logits as l
inner join running as r on l.sequence_id = r.sequence_id
inner join normalised as n on l.sequence_id = n.sequence_id and l.position = n.position
where l.token_id = r.token_ids[l.position + 2]
{%- endmacro %}

{# All that is running is finished. #}
{% macro _finish_scores() -%}
insert into finished
select
    sequence_id,
    relama_hash,
    null as finish_reason
from running;
insert into answer by name
select
    r.relama_hash,
    sum(s.logprob) as logprob,
    exp(-avg(s.logprob)) as perplexity,
    r.prompt_tokens,
    len(r.token_ids) - r.prompt_tokens as target_tokens
from running as r
inner join token_score as s on r.sequence_id = s.sequence_id
group by r.relama_hash, r.prompt_tokens, r.token_ids;
delete from token_score
{%- endmacro %}
