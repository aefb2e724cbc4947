{#
    One answer for each group of rows: what `relama_aggregate` consists of. A level is rows as those
    of `relama_complete`, one a prompt; what is here packs texts into prompts and takes answers
    to the next level.

    A group is a sequence of texts, in temporary tables:

        asked_group   (relama__group, the columns of the group, row_count, relama_hash)
        item          what waits to be packed: (group_id, place, weight, digest, body), texts of rows
                      at the first level, then answers
        level_input   the prompts of a level: (group_id, place, inputs, prompt); the place is that of
                      its first item, the inputs are the digests of its items
        level_prompt  those of all levels: (group_id, level, inputs, relama_hash)
        group_answer  answers of groups that have one
        group_failed  (group_id, error)

    Where a group is too long for a prompt it is cut before the item of the greatest weight, and so
    is each part of it until all parts fit. A row that is new changes the part in which it lies, and
    no other: weights are of the rows, and the cuts of a part do not depend on other parts (a treap,
    Seidel and Aragon, Algorithmica 16, 1996). A prompt of answers lies where its first row does and
    has the weight of it.

    Without `order_by` rows are in the order of their digests, and weigh more the earlier the digest
    differs from the one before: that cuts a group where a binary trie of the digests has its
    branches, in halves as good as equal. With it they are in that order, and a weight is a digest of
    their columns of `order_by`, so that another text in a row is no other cut.
#}
{% macro _aggregate_settings() -%}
    {%- if relama._setting('unique_key', none) is not none -%}
        {%- do exceptions.raise_compiler_error(
            model.name ~ ": 'unique_key' is no setting of relama_aggregate, whose rows are told apart "
            ~ 'by the columns of group_by.'
        ) -%}
    {%- endif -%}
    {%- set settings = relama._completion_settings() -%}
    {%- if relama._setting('instructions', none) is none -%}
        {%- do relama._bad_setting('instructions', none, "a text such as 'Summarise the complaints.'") -%}
    {%- endif -%}
    {%- do relama._group_setting() -%}
    {%- do relama._texts_setting('order_by') -%}
    {{ return(settings) }}
{%- endmacro %}

{# The setting `group_by`, a list of names. No answer depends on it. #}
{% macro _group_setting() -%}
    {%- set names = relama._setting('group_by', none) -%}
    {%- if names is none or names is string or names is mapping or names is not iterable or not names -%}
        {%- do relama._bad_setting(
            'group_by', names, "a list of columns of the query, such as ['product']"
        ) -%}
    {%- endif -%}
    {{ return(relama._texts_setting('group_by')) }}
{%- endmacro %}

{# The columns of the query that a setting names. #}
{% macro _named_columns(job, setting, names) -%}
    {%- set found = [] -%}
    {%- for name in relama._quoted_names(names) -%}
        {%- for column in job['columns'] if column['quoted'] | lower == name | lower -%}
            {%- if column in found -%}
                {%- do exceptions.raise_compiler_error(
                    model.name ~ ': ' ~ setting ~ ' has the column ' ~ name ~ ' twice.'
                ) -%}
            {%- endif -%}
            {%- do found.append(column) -%}
        {%- else -%}
            {%- do exceptions.raise_compiler_error(
                model.name ~ ': the column ' ~ name ~ ' of ' ~ setting
                ~ ' is not a column of its query, which has '
                ~ job['columns'] | map(attribute='name') | join(', ') ~ '.'
            ) -%}
        {%- endfor -%}
    {%- endfor -%}
    {{ return(found) }}
{%- endmacro %}

{#
    Begins the model: `asked_group` and `item`. In place of the rows, `asked_row` has one text, whose
    rendering tells what is around every prompt.
#}
{% macro _ask_groups(settings) -%}
    {%- set job = relama._ask_rows(['prompt'], {}, dict(settings, chat=false)) -%}
    {%- set groups = relama._named_columns(job, 'group_by', relama._group_setting()) -%}
    {%- set order = relama._named_columns(job, 'order_by', relama._texts_setting('order_by')) -%}
    {%- set prompt_types = dict(relama._completion_columns(settings), **job['types']) -%}
    {%- set types = dict(
        relama._completion_columns(settings), levels='bigint', **job['types']
    ) -%}
    {%- set names = groups | map(attribute='name') | map('lower') | list -%}
    {%- do relama._check_names(
        names, types | list + ['row_count', 'level', 'inputs', 'prompt', 'relama_hash']
    ) -%}
    {%- set columns = groups + [{'name': 'row_count', 'quoted': 'row_count', 'type': 'BIGINT'}] -%}
    {%- do job.update({
        'has_levels': true,
        'things': 'groups',
        'key': groups | map(attribute='quoted') | list,
        'columns': columns,
        'answers': types | list,
        'types': types,
        'prompt_types': prompt_types,
        'stored_levels': this.incorporate(
            path={'identifier': this.identifier ~ '__relama_levels'}, type='table'
        ),
    }) -%}
    {%- set key = job['key'] | join(', ') -%}
    {%- call relama._run() -%}
create or replace temporary table asked_group as
select
    dense_rank() over (order by {{ key }}) as relama__group,
    {{ key }},
    count(*) as row_count
from asked_row
group by {{ key }};
{{ relama._group_items(job['key'], order | map(attribute='quoted') | list) }};
create or replace temporary table asked_row as select 'x' as prompt
    {%- endcall -%}
    {%- if settings['chat'] -%}
        {%- do relama._open_chat(job, settings) -%}
    {%- endif -%}
    {{ return(job) }}
{%- endmacro %}

{#
    The statement that makes `item` of the rows, and `group_text`: (group_id, digest), a digest of
    all items of a group.

    key    columns of the group
    order  columns of `order_by`, which may be none
#}
{% macro _group_items(key, order) -%}
    {%- set values = [] -%}
    {%- for column in order -%}
        {%- do values.append('a.' ~ column) -%}
    {%- endfor -%}
create or replace temporary table item as
with texts as (

    select
        g.relama__group as group_id,
        cast(a.prompt as varchar) as body,
        md5(cast(a.prompt as varchar)) as digest,
        {%- if order %}
        cast(row({{ values | join(', ') }}) as varchar) as identity,
        row_number() over (
            partition by g.relama__group
            order by {% for value in values %}{{ value }} asc nulls last, {% endfor %}md5(cast(a.prompt as varchar))
        ) as place
        {%- else %}
        cast(a.prompt as varchar) as identity,
        0 as place
        {%- endif %}
    from asked_row as a
    inner join asked_group as g on {{ relama._equal_rows('a', 'g', key) }}
    where cast(a.prompt as varchar) <> ''

),

known as (

    select
        *,
        {#- Rows that are the same are the first, the second and so on of them. #}
        md5(concat(
            row_number() over (partition by group_id, identity order by place), ':', identity
        )) as known_by
    from texts

),

numbered as (

    select
        *,
        cast('0x' || substr(known_by, 1, 15) as bigint) as number,
        row_number() over (partition by group_id order by place, known_by) as new_place
    from known

)

select
    group_id,
    new_place as place,
    {% if order -%}
    number as weight,
    {%- else -%}
    xor(number, lag(number) over (partition by group_id order by new_place)) as weight,
    {%- endif %}
    digest,
    body,
    known_by
from numbered;
create or replace temporary table group_text as
select
    group_id,
    md5(string_agg(known_by || digest, '' order by place)) as digest
from item
group by group_id;
alter table item drop column known_by
{%- endmacro %}

{#
    Goes on where the text around prompts has been rendered. The table of the model is created, and
    groups that have been answered before, or ask nothing, are written; what is left of `item` is of
    the others.
#}
{% macro _open_groups(job, settings) -%}
    {%- set language_model = job['language_model'] -%}
    {%- set around = 'x' -%}
    {%- if settings['chat'] -%}
        {%- set around = relama._value('select md5(any_value(body)) from chat_text') -%}
        {#- What the template makes of other texts than `x` may depend on its arguments too. -#}
        {%- if settings['template_args'] != '{}' -%}
            {%- set around = local_md5(around ~ settings['template_args']) -%}
        {%- endif -%}
    {%- endif -%}
    {%- set fingerprint = relama._fingerprint(language_model, settings) ~ around -%}
    {%- call relama._run() -%}
create or replace temporary table asked_group as
select
    g.*,
    md5('{{ fingerprint }}:' || t.digest) as relama_hash
from asked_group as g
left join group_text as t on g.relama__group = t.group_id
    {%- endcall -%}
    {%- do relama._show_groups(job) -%}
    {%- do relama._check_contract(job['types']) -%}
    {%- do relama._open_answers(job, job['types']) -%}
    {%- call relama._run() -%}
delete from item
where group_id in (
    select relama__group from asked_group where relama_hash in (select relama_hash from answer)
);
create or replace temporary table group_answer as select * from answer;
create or replace temporary table group_failed (group_id bigint, error varchar);
create or replace temporary table level_prompt (
    group_id bigint, level bigint, inputs varchar[], relama_hash varchar
)
    {%- endcall -%}
    {%- do relama._go_on(job) -%}
    {%- if job['goes_on'] -%}
        {%- do job.update({'text_room': relama._text_room(job, settings), 'has_opened': true}) -%}
    {%- endif -%}
{%- endmacro %}

{# There is another level where anything waits to be packed. #}
{% macro _go_on(job) -%}
    {%- do job.update({'goes_on': relama._value('select count(*) from item') > 0}) -%}
{%- endmacro %}

{# The groups as rows that are asked: `input_row`. #}
{% macro _show_groups(job) -%}
    {%- call relama._run() -%}
create or replace temporary table input_row as
select {{ (job['columns'] | map(attribute='quoted') | list + ['relama_hash']) | join(', ') }}
from asked_group
order by relama__group
    {%- endcall -%}
{%- endmacro %}

{#
    Tokens that the texts of a prompt may have, each with what is before it: the context without the
    tokens of an answer, of the instructions and of the chat template.
#}
{% macro _text_room(job, settings) -%}
    {%- set language_model = job['language_model'] -%}
    {%- set tokens -%}
        {%- if settings['chat'] -%}
select len({{ relama._chat_token_ids(job, 'body') }}) from chat_text
        {%- else -%}
select
    {{ language_model['opening_ids'] | length + language_model['closing_ids'] | length }}
    + {{ relama.count_tokens(
        relama._framed(settings, 'prompt'), parse_special=settings['parse_special']
    ) | indent(4) }}
from asked_row
        {%- endif -%}
    {%- endset -%}
    {%- set around = relama._value(tokens) -%}
    {%- set context = language_model['max_position_embeddings'] -%}
    {%- set room = context - settings['max_tokens'] + 1 - around -%}
    {%- if room < 1 -%}
        {%- do exceptions.raise_compiler_error(
            model.name ~ ': max_tokens is ' ~ settings['max_tokens'] ~ ' and the instructions have '
            ~ around ~ ' tokens with what is around them, which leaves no room for a text in the '
            ~ 'context of ' ~ context ~ '.'
        ) -%}
    {%- endif -%}
    {{ return(room) }}
{%- endmacro %}

{# The texts of a prompt, each with what is before it. #}
{% macro _between_texts() -%}
    {{ return('chr(10) || chr(10)') }}
{%- endmacro %}

{#
    Packs `item` into the prompts of a level, which become `asked_row`. Returns a mapping as
    `_ask_rows` does, of which each row is a prompt.

    number  of the level, from 1
#}
{% macro _open_level(job, settings, number) -%}
    {%- set language_model = job['language_model'] -%}
    {%- set between = relama._between_texts() -%}
    {%- call relama._run() -%}
create or replace temporary table measured as
select
    digest,
    {#- A token more, for the two parts of a text may have one less than the whole. #}
    1 + {{ relama.count_tokens(
        between ~ ' || ' ~ relama._shortened('body', language_model),
        parse_special=settings['parse_special']
    ) | indent(4) }} as size
from (select distinct on (digest) digest, body from item) as texts;
create or replace temporary table packed as
with recursive part as (

    select
        i.group_id,
        i.place,
        i.weight,
        m.size,
        min(i.place) over (partition by i.group_id) as first_place,
        0 as cuts
    from item as i
    inner join measured as m on i.digest = m.digest

    union all

    select
        group_id,
        place,
        weight,
        size,
        if(place < cut_place, first_place, cut_place) as first_place,
        cuts + 1 as cuts
    from (
        select
            *,
            sum(size) over parts as part_size,
            count(*) over parts as part_count,
            arg_max(place, if(place > first_place, weight, null)) over parts as cut_place
        from part
        window parts as (partition by group_id, first_place)
    ) as summed
    {#- Two answers are merged, whatever their size: there must be fewer. #}
    where part_size > {{ job['text_room'] }} and part_count > {{ 1 if number == 1 else 2 }}

)

select
    group_id,
    place,
    arg_max(first_place, cuts) as first_place
from part
group by group_id, place;
create or replace temporary table level_input as
select
    i.group_id,
    p.first_place as place,
    list(i.digest order by i.place) as inputs,
    string_agg(i.body, {{ between }} order by i.place) as prompt
from item as i
inner join packed as p on i.group_id = p.group_id and i.place = p.place
group by i.group_id, p.first_place
    {%- if number > 1 %}
having count(*) > 1
    {%- endif %};
create or replace temporary table asked_row as
select
    {%- for column in job['key'] %}
    g.{{ column }},
    {%- endfor %}
    cast({{ number }} as bigint) as level,
    i.inputs,
    i.prompt
from level_input as i
inner join asked_group as g on i.group_id = g.relama__group
order by i.group_id, i.place
    {%- endcall -%}
    {%- if number == 1 -%}
        {%- do relama._check_merges(job, settings) -%}
    {%- endif -%}
    {%- set columns = job['columns'][:-1] + [
        {'name': 'level', 'quoted': 'level', 'type': 'BIGINT'},
        {'name': 'inputs', 'quoted': 'inputs', 'type': 'VARCHAR[]'},
        {'name': 'prompt', 'quoted': 'prompt', 'type': 'VARCHAR'},
    ] -%}
    {%- set max_rows = job['max_rows'] -%}
    {%- set level = dict(
        job,
        is_level=true,
        has_levels=false,
        is_open=number > 1,
        things='prompts',
        relation=job['stored_levels'],
        key=[],
        columns=columns,
        answers=job['prompt_types'] | list,
        types=job['prompt_types'],
        failed=0,
        done=0,
        left_out=0,
        max_rows=max_rows - job['done'] if max_rows is not none else none,
        room=language_model['max_position_embeddings'] - settings['max_tokens'] + 1
    ) -%}
    {%- if settings['chat'] -%}
        {%- do relama._open_chat(level, settings) -%}
    {%- endif -%}
    {{ return(level) }}
{%- endmacro %}

{# Where a group has several prompts, two of their answers have to fit into one. #}
{% macro _check_merges(job, settings) -%}
    {%- set between = relama._value(
        'select 1 + ' ~ relama.count_tokens(relama._between_texts())
    ) -%}
    {%- set several -%}
select count(*) > count(distinct group_id) from level_input
    {%- endset -%}
    {%- if 2 * (settings['max_tokens'] + between) > job['text_room'] and relama._value(several) -%}
        {%- set most = (job['text_room'] + settings['max_tokens'] - 2 * between) // 3 -%}
        {%- set context = job['language_model']['max_position_embeddings'] -%}
        {%- do exceptions.raise_compiler_error(
            model.name ~ ': ' ~ (
                'max_tokens must be at most ' ~ most ~ ', not ' ~ settings['max_tokens']
                if most > 0 else 'the instructions are too long'
            ) ~ ': a group has texts for several prompts, and the context of ' ~ context
            ~ ' tokens has to hold the instructions, two answers and the one that merges them.'
        ) -%}
    {%- endif -%}
{%- endmacro %}

{# Whether prompts of a level wait, and the model may answer more of them. #}
{% macro _may_answer(level) -%}
    {%- if not level['waiting'] or relama._is_over(level) -%}
        {{ return(false) }}
    {%- endif -%}
    {%- if level['max_rows'] == 0 -%}
        {%- do level.update({'left_out': level['waiting']}) -%}
    {%- endif -%}
    {{ return(level['max_rows'] != 0) }}
{%- endmacro %}

{#
    The answers of a level become the items of the next one. A group leaves that has one answer, or a
    prompt that failed or is left for the next run.
#}
{% macro _close_level(job, level, number) -%}
    {%- do job.update({
        'logged': level['logged'],
        'is_stopped': level['is_stopped'],
        'is_dated': level.get('is_dated'),
        'left_out': job['left_out'] + level['left_out'],
        'done': job['done'] + level['done'],
    }) -%}
    {%- call relama._run() -%}
create or replace temporary table level_output as
select
    i.group_id,
    i.place,
    i.inputs,
    h.relama_hash,
    a.relama_hash is not null as is_answered,
    a.completion,
    f.error
from level_input as i
inner join (
    select distinct prompt, replace(relama_hash, 'failed:', '') as relama_hash from input_row
) as h on i.prompt = h.prompt
left join answer as a on h.relama_hash = a.relama_hash
left join (
    select relama_hash, min(error) as error from failed group by relama_hash
) as f on h.relama_hash = f.relama_hash;
insert into level_prompt
select group_id, {{ number }} as level, inputs, relama_hash from level_output;
insert into group_failed
select group_id, min(error) from level_output where error is not null group by group_id;
create or replace temporary table item as
select
    i.group_id,
    i.place,
    i.weight,
    coalesce(o.relama_hash, i.digest) as digest,
    {#- A prompt without tokens has no answer. #}
    if(o.relama_hash is null, i.body, coalesce(o.completion, '')) as body
from item as i
inner join packed as p on i.group_id = p.group_id and i.place = p.place
left join level_output as o on i.group_id = o.group_id and i.place = o.place
where
    i.place = p.first_place
    and i.group_id not in (select group_id from level_output where not is_answered);
insert into group_answer by name
select distinct on (g.relama_hash)
    a.* replace (g.relama_hash as relama_hash),
    {{ number }} as levels
from item as i
inner join asked_group as g on i.group_id = g.relama__group
inner join answer as a on i.digest = a.relama_hash
where
    i.group_id in (select group_id from item group by group_id having count(*) = 1)
    and g.relama_hash not in (select relama_hash from group_answer);
delete from item
where group_id in (select group_id from item group by group_id having count(*) = 1)
    {%- endcall -%}
    {%- do relama._go_on(job) -%}
{%- endmacro %}

{#
    Ends the model: writes the groups that have an answer, and takes prompts out of the table of
    levels that these groups do not have any more.
#}
{% macro _close_groups(job) -%}
    {%- do relama._show_groups(job) -%}
    {%- set key = job['key'] -%}
    {%- set tree -%}
delete from {{ job['stored_levels'] }} as t
where
    exists (select 1 from kept_prompt as k where {{ relama._equal_rows('t', 'k', key) }})
    and not exists (
        select 1
        from kept_prompt as k
        where {{ relama._equal_rows('t', 'k', key + ['level', 'inputs', 'relama_hash']) }}
    );
    {%- endset -%}
    {%- call relama._run() -%}
create or replace temporary table answer as select * from group_answer;
create or replace temporary table failed (relama_hash varchar, error varchar);
create or replace temporary table written_row as select * from input_row limit 0;
create or replace temporary table kept_prompt as
select
    {%- for column in key %}
    g.{{ column }},
    {%- endfor %}
    p.level,
    p.inputs,
    p.relama_hash
from level_prompt as p
inner join asked_group as g on p.group_id = g.relama__group
where g.relama_hash in (select relama_hash from answer);
{{ relama._write_answers(job, 'i.relama_hash in (select relama_hash from answer)', tree if job.get('has_opened') else '') }}
    {%- endcall -%}
    {%- set failed -%}
select
    g.relama_hash,
    min(f.error) as error
from group_failed as f
inner join asked_group as g on f.group_id = g.relama__group
group by g.relama_hash
    {%- endset -%}
    {%- do relama._fail_rows(job, 'group_answer', failed) -%}
    {{ return(relama._close_rows(job)) }}
{%- endmacro %}
