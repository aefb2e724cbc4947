{#
    Answers the rows of `prompt` with the probability of each label: its tokens'
    log-probabilities after the prompt, summed, and a softmax over the labels,

        probability[label] = exp(s[label]) / sum over l of exp(s[l]),
        s[label] = sum over i of ln p(token[label][i] | prompt, token[label][:i])

    Nothing is decoded. The end of the prompt gives the first token of every label; a label
    of more tokens is read after it by a round of its own, whose keys and values nobody
    keeps.

    `label` is a relation (place, label, token_ids).
#}
{% macro _classify_rows(job) -%}
    {%- set language_model = job['language_model'] -%}
    {%- call relama._run() -%}
create temporary table label_score (sequence_id bigint, place integer, logprob double);
create temporary table reading (place integer)
    {%- endcall -%}
    {%- do relama._prepare_batch(job, {
        'first_tokens': relama._first_label_tokens(language_model),
        'later_tokens': relama._later_label_tokens(language_model),
    }) -%}
    {%- do relama._read_shared_prefix(job) -%}
    {%- set longer = relama._rows('select place from label where len(token_ids) > 1') -%}
    {%- call relama._until(relama._all_answered, job) -%}
        {%- do relama._admit(job) -%}
        {%- do relama._read_running(job, 'relama_first_tokens') -%}
        {%- for label in longer if not job['is_stopped'] -%}
            {%- call relama._run() -%}
delete from reading;
insert into reading values ({{ label[0] }});
delete from tokens;
insert into tokens (sequence_id, position, token_id, is_prompt, has_read)
select
    r.sequence_id,
    r.has_read + i.i as position,
    i.token_id,
    true as is_prompt,
    r.has_read
from running as r
cross join (
    select
        unnest(token_ids[:-2]) as token_id,
        generate_subscripts(token_ids[:-2], 1) - 1 as i
    from label
    where place = {{ label[0] }}
) as i
            {%- endcall -%}
            {%- do relama._forward(job) -%}
            {%- call relama._run() -%} execute relama_later_tokens {%- endcall -%}
        {%- endfor -%}
        {%- if not job['is_stopped'] -%}
            {%- call relama._run() -%} {{ relama._finish_labels() }} {%- endcall -%}
            {%- do relama._leave(job) -%}
        {%- endif -%}
    {%- endcall -%}
{%- endmacro %}

{# The log-probability of each label's first token, where a prompt has been read to its end. #}
{% macro _first_label_tokens(language_model) -%}
insert into label_score
with logits as materialized (

    {{ relama.logits(
        '(' ~ relama._last_hidden() ~ ')',
        language_model['head'],
        language_model['head_storage'],
        many=true,
        native=language_model['native']
    ) | indent(4) }}

),

normalised as (

    {{ relama.log_normaliser('logits') | indent(4) }}

)

select
    l.sequence_id,
    label.place,
    l.logit - n.log_normaliser as logprob
from logits as l
inner join label on l.token_id = label.token_ids[1]
inner join normalised as n on l.sequence_id = n.sequence_id and l.position = n.position
{%- endmacro %}

{# The log-probabilities of the other tokens of the label that `reading` names. #}
{% macro _later_label_tokens(language_model) -%}
insert into label_score
with hidden as (

    select
        sequence_id,
        position,
        vector
    from step
    where layer is null

),

logits as materialized (

    {{ relama.logits(
        'hidden',
        language_model['head'],
        language_model['head_storage'],
        many=true,
        native=language_model['native']
    ) | indent(4) }}

),

normalised as (

    {{ relama.log_normaliser('logits') | indent(4) }}

)

select
    l.sequence_id,
    label.place,
    l.logit - n.log_normaliser as logprob
from logits as l
inner join running as r on l.sequence_id = r.sequence_id
cross join label
inner join reading on label.place = reading.place
inner join normalised as n on l.sequence_id = n.sequence_id and l.position = n.position
where l.token_id = label.token_ids[l.position - r.has_read + 2]
{%- endmacro %}

{# All that is running is finished: the softmax over its labels. #}
{% macro _finish_labels() -%}
insert into finished
select
    sequence_id,
    relama_hash,
    null as finish_reason
from running;
insert into answer by name
with summed as (

    select
        sequence_id,
        place,
        sum(logprob) as logprob
    from label_score
    group by sequence_id, place

),

weighed as (

    select
        *,
        exp(logprob - max(logprob) over (partition by sequence_id)) as weight
    from summed

),

probable as (

    select
        *,
        weight / sum(weight) over (partition by sequence_id) as probability
    from weighed

)

select
    r.relama_hash,
    arg_max(l.label, (p.probability, -p.place)) as label,
    max(p.probability) as probability,
    map(
        list(l.label order by p.place),
        list(p.probability order by p.place)
    ) as probabilities,
    any_value(r.prompt_tokens) as prompt_tokens
from probable as p
inner join running as r on p.sequence_id = r.sequence_id
inner join label as l on p.place = l.place
group by r.relama_hash;
delete from label_score
{%- endmacro %}

{#
    The labels as the temporary table `label`, from a list or from the first column of a
    table. One clear sentence for labels that cannot be told apart.
#}
{% macro _open_labels() -%}
    {%- set labels = relama._setting('labels', none) -%}
    {%- set texts = [] -%}
    {%- if labels is mapping and 'ref' in labels -%}
        {%- set relation = relama._referenced(labels) -%}
        {%- set column = relama._quoted(relama._rows('describe ' ~ relation)[0][0]) -%}
        {%- for row in relama._rows(
            'select distinct cast(' ~ column ~ ' as varchar) from ' ~ relation ~ ' order by 1'
        ) -%}
            {%- do texts.append(row[0]) -%}
        {%- endfor -%}
        {%- if flags.EMPTY -%}
            {{ return(texts) }}
        {%- endif -%}
    {%- elif labels is none or labels is string or labels is mapping or labels is not iterable -%}
        {%- do relama._bad_setting(
            'labels', labels,
            "a list of texts, or relama.ref_to('a_table') whose first column has them"
        ) -%}
    {%- else -%}
        {%- do texts.extend(labels) -%}
    {%- endif -%}
    {%- for text in texts -%}
        {%- if text is not string or not text | trim -%}
            {%- do exceptions.raise_compiler_error(
                model.name ~ ': a label is empty or no text: ' ~ (text | tojson) ~ '.'
            ) -%}
        {%- endif -%}
    {%- endfor -%}
    {%- if texts | length < 2 or texts | unique | list | length != texts | length -%}
        {%- do exceptions.raise_compiler_error(
            model.name ~ ': labels must be at least two different texts, not '
            ~ (texts | tojson) ~ '.'
        ) -%}
    {%- endif -%}
    {{ return(texts) }}
{%- endmacro %}

{# The temporary table `label` (place, label, token_ids). #}
{% macro _tokenize_labels(texts) -%}
    {%- do relama._check_spelled('labels', texts) -%}
    {%- set rows = [] -%}
    {%- for text in texts -%}
        {%- do rows.append('(' ~ loop.index0 ~ ', ' ~ relama._text_literal(text) ~ ')') -%}
    {%- endfor -%}
    {%- call relama._run() -%}
create temporary table label as
select
    place,
    label,
    {{ relama.tokenize('label') | indent(4) }} as token_ids
from (values {{ rows | join(', ') }}) as labels (place, label)
    {%- endcall -%}
    {%- set beginnings -%}
select
    a.label,
    b.label
from label as a
inner join label as b on a.place <> b.place
where b.token_ids[1:len(a.token_ids)] = a.token_ids
limit 1
    {%- endset -%}
    {%- set doubtful = relama._rows(beginnings) -%}
    {%- if doubtful | length -%}
        {%- do exceptions.raise_compiler_error(
            model.name ~ ": the label '" ~ doubtful[0][0] ~ "' is the beginning of '"
            ~ doubtful[0][1] ~ "', token by token, and would always be the likelier one; "
            ~ 'name one of them otherwise.'
        ) -%}
    {%- endif -%}
{%- endmacro %}
