{#
    Answers the rows of `prompt` with the probability of each label: its tokens'
    log-probabilities after the prompt, summed, and a softmax over the labels,

        probability[label] = exp(s[label]) / sum over l of exp(s[l]),
        s[label] = sum over i of ln p(token[label][i] | prompt, token[label][:i])

    Nothing is decoded. The end of the prompt gives the first token of every label; what a label
    has before its last token is read after it by a round of its own, whose keys and values nobody
    keeps. Labels that differ only in the last token share a round.

    Where a row may have several labels, each of them has a probability of its own, which is that
    softmax over two texts, the label with Yes and the label with No after it:

        probability[label] = exp(s[label: Yes]) / (exp(s[label: Yes]) + exp(s[label: No]))

    A prompt with its longest label after it has one length, and all its labels are read as parts of
    a text so long: that matters to a rotary embedding with long factors, see `rotary_angles`.

    `label` is a relation (place, label, token_ids).

    choice  how answers are made of probabilities, see `_label_choice`
#}
{% macro _classify_rows(job, choice) -%}
    {%- set language_model = job['language_model'] -%}
    {%- call relama._run() -%}
create temporary table label_score (sequence_id bigint, place integer, logprob double);
create temporary table reading (place integer)
    {%- endcall -%}
    {%- do job.update({'label_tokens': relama._value('select max(len(token_ids)) from label')}) -%}
    {%- do relama._prepare_batch(job, {
        'first_tokens': relama._first_label_tokens(language_model),
        'later_tokens': relama._later_label_tokens(language_model),
    }) -%}
    {%- do relama._read_shared_prefix(job) -%}
    {%- set longer = relama._rows(relama._label_stems()) -%}
    {%- call relama._until(relama._all_answered, job) -%}
        {%- do relama._admit(job) -%}
        {%- do relama._read_running(job, 'relama_first_tokens') -%}
        {%- for label in longer if not relama._is_over(job) -%}
            {%- call relama._run() -%}
delete from reading;
insert into reading select unnest({{ label[1] }});
delete from tokens;
insert into tokens ({{ relama._round_columns(job) }})
select {{ relama._round_columns(job) }}
from (
    select
        r.sequence_id,
        r.has_read + i.i as position,
        i.token_id,
        true as is_prompt,
        r.has_read,
        r.is_long
    from running as r
    cross join (
        select
            unnest(token_ids[:-2]) as token_id,
            generate_subscripts(token_ids[:-2], 1) - 1 as i
        from label
        where place = {{ label[0] }}
    ) as i
)
            {%- endcall -%}
            {%- do relama._forward(job) -%}
            {%- call relama._run() -%} execute relama_later_tokens {%- endcall -%}
        {%- endfor -%}
        {%- if not job['is_stopped'] -%}
            {%- call relama._run() -%} {{ relama._finish_labels(job, choice) }} {%- endcall -%}
            {%- do relama._leave(job) -%}
        {%- endif -%}
    {%- endcall -%}
{%- endmacro %}

{#
    What labels have before their last tokens, each once: the place of a label that has it, and
    those of all. A select.
#}
{% macro _label_stems() -%}
select
    min(place) as place,
    list(place order by place) as places
from label
where len(token_ids) > 1
group by token_ids[:-2]
order by 1
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
    label.place,
    l.logit - n.log_normaliser as logprob
from logits as l
inner join label on l.token_id = label.token_ids[1]
inner join normalised as n on l.sequence_id = n.sequence_id and l.position = n.position
{%- endmacro %}

{# The log-probabilities of the other tokens of the labels that `reading` names. #}
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
    label.place,
    l.logit - n.log_normaliser as logprob
from logits as l
inner join running as r on l.sequence_id = r.sequence_id
cross join label
inner join reading on label.place = reading.place
inner join normalised as n on l.sequence_id = n.sequence_id and l.position = n.position
where l.token_id = label.token_ids[l.position - r.has_read + 2]
{%- endmacro %}

{#
    All that is running is finished: the softmax over its labels, or over the two answers of each,
    which have places one after the other.
#}
{% macro _finish_labels(job, choice) -%}
    {%- set among = 'sequence_id' ~ (', place // 2' if 'labels' in job['answers'] else '') -%}
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
        exp(logprob - max(logprob) over (partition by {{ among }})) as weight
    from summed

),

probable as (

    select
        *,
        weight / sum(weight) over (partition by {{ among }}) as probability
    from weighed

)

select
    relama_hash,
    {%- if 'label' in job['answers'] %}
    arg_max(label, (probability, -place)) as label,
    max(probability) as probability,
    {%- endif %}
    {%- if 'labels' in job['answers'] %}
    {{ relama._chosen_labels(relama._probability_map(), choice) | indent(4) }} as labels,
    {%- endif %}
    {%- if 'probabilities' in job['answers'] %}
    {{ relama._probability_map() }} as probabilities,
    {%- else %}
    any_value(probability) as probability,
    {%- endif %}
    any_value(prompt_tokens) as prompt_tokens
from (
    select
        p.probability,
        p.place,
        l.label,
        r.relama_hash,
        r.prompt_tokens
    from probable as p
    inner join running as r on p.sequence_id = r.sequence_id
    inner join label as l on p.place = l.place
    {%- if 'label' not in job['answers'] %}
    where p.place % 2 = 0
    {%- endif %}
) as labelled
group by relama_hash;
delete from label_score
{%- endmacro %}

{# The probabilities of a row's labels, in the order of these. An expression. #}
{% macro _probability_map() -%}
    map(list(label order by place), list(probability order by place))
{%- endmacro %}

{#
    The labels that are likely enough, the likeliest first. An expression.

    probabilities  a map
    choice         threshold and max_labels
#}
{% macro _chosen_labels(probabilities, choice) -%}
    list_transform(
        list_sort(
            list_filter(
                list_transform(
                    map_entries({{ probabilities }}),
                    lambda e, i: {'probability': e.value, 'place': -i, 'label': e.key}
                ),
                lambda e: e.probability >= {{ choice['threshold'] }}
            ),
            'desc'
        ),
        lambda e: e.label
    )[:{{ choice['max_labels'] }}]
{%- endmacro %}

{# The statement that chooses again, of probabilities that a table has. #}
{% macro _choose_labels(job, choice) -%}
    {%- set chosen = relama._chosen_labels('probabilities', choice) -%}
update {{ job['relation'] }}
set labels = {{ chosen }}
where labels is distinct from {{ chosen }}
{%- endmacro %}

{#
    The temporary table `label` (place, label, token_ids). Where a row may have several labels, each
    is there twice, with Yes and with No among its tokens.
#}
{% macro _tokenize_labels(settings) -%}
    {%- set texts, rows = [], [] -%}
    {%- for label in settings['labels'] -%}
        {%- if settings.get('multi_label') -%}
            {%- for answer in relama._yes_and_no() -%}
                {%- do texts.append([label, label ~ ': ' ~ answer]) -%}
            {%- endfor -%}
        {%- else -%}
            {%- do texts.append([label, label]) -%}
        {%- endif -%}
    {%- endfor -%}
    {%- do relama._check_spelled('labels', texts | map('last') | list) -%}
    {%- for label, text in texts -%}
        {%- do rows.append(
            '(' ~ loop.index0 ~ ', ' ~ relama._hexadecimal_literal(label) ~ ', '
            ~ relama._hexadecimal_literal(text) ~ ')'
        ) -%}
    {%- endfor -%}
    {%- call relama._run() -%}
create temporary table label as
select
    place,
    label,
    {{ relama.tokenize('body') | indent(4) }} as token_ids
from (values {{ rows | join(', ') }}) as labels (place, label, body)
    {%- endcall -%}
    {%- set beginnings -%}
select
    a.label,
    b.label
from label as a
inner join label as b on a.place <> b.place
where
    b.token_ids[1:len(a.token_ids)] = a.token_ids
    {%- if settings.get('multi_label') %}
    and b.place // 2 = a.place // 2
    {%- endif %}
limit 1
    {%- endset -%}
    {%- set doubtful = relama._rows(beginnings) -%}
    {%- if doubtful | length -%}
        {%- do exceptions.raise_compiler_error(
            model.name ~ ": labels have '" ~ doubtful[0][0] ~ "', which is the beginning of '"
            ~ doubtful[0][1] ~ "', token by token, and would always be the likelier one; "
            ~ 'name one of them otherwise.'
        ) -%}
    {%- endif -%}
{%- endmacro %}
