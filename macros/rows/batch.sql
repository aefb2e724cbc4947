{#
    A batch of sequences, in temporary tables:

        prompt    what waits: (relama_hash, sequence_id, place, prompt_ids)
        running   what is in the batch: its tokens, how many of them have been read
        tokens    of these the ones that this round reads, with the same `has_read`, and the
                  caches that it adds to (`create_batch_state`): the state that a step finds
        step      what the forward pass yields

    A round reads tokens of all running sequences at once, the next ones of a prompt or the
    last one that was generated. Sequences that are finished leave, waiting ones enter, as
    in continuous batching (Yu et al., Orca, OSDI 2022).

    Where the rotary embedding has short and long factors, `is_long` says by which a sequence is
    turned. One that outgrows the former is read again, from its beginning: see `_outgrow`.

    The job has batch_size, max_batch_tokens (positions that a round reads at most) and
    share_prefix, and how much one run may do: see `_is_over`.
#}
{% macro _open_batch(job) -%}
    {%- set language_model = job['language_model'] -%}
    {%- do relama._answer_empty(job) -%}
    {%- call relama._run() -%}
create or replace temporary table prompt as
select
    relama_hash,
    sequence_id,
    row_number() over (order by place) - 1 as place,
    head || content || tail || target_ids as prompt_ids,
    len(head) + len(content) + len(tail) as prompt_tokens
from prompted_request
    {%- if job['max_rows'] is not none %}
order by place
limit {{ job['max_rows'] * (2 if job.get('has_pairs') else 1) }}
    {%- endif %}
    {%- endcall -%}
    {%- set waiting = relama._value('select count(*) from prompt') -%}
    {%- do job.update({
        'left_out': relama._value('select count(*) from prompted_request') - waiting,
        'waiting': waiting,
        'admitted': 0,
        'running': 0,
        'positions': 0,
        'tokens': 0,
        'prefix': 0,
        'progress': relama._progress(job['things'], waiting),
    }) -%}
    {%- call relama._run() -%}
set disabled_optimizers = 'statistics_propagation,join_order,build_side_probe_side';
{{ relama.create_batch_state(
    language_model['num_hidden_layers'],
    long_factors=relama._has_long_factors(job)
) }}
create or replace temporary table running (
    sequence_id bigint,
    relama_hash varchar,
    place bigint,
    token_ids integer[],
    prompt_tokens bigint,
    has_read bigint,
    is_long boolean,
    state integer,
    is_closing boolean,
    logprob double
);
create or replace temporary table packing (sequence_id bigint);
create or replace temporary table finished (
    sequence_id bigint, relama_hash varchar, finish_reason varchar
)
    {%- endcall -%}
    {%- call relama._run() -%}
create or replace temporary table step as select * from {{ language_model['function'] }}() limit 0
    {%- endcall -%}
{%- endmacro %}

{# What has no tokens gets no answer. #}
{% macro _answer_empty(job) -%}
    {%- set empty -%}
select relama_hash
from prompted_request
where
    len(head) + len(content) + len(tail) = 0
    {%- if 'perplexity' in job['answers'] %}
    or len(target_ids) = 0
    {%- endif %}
    {%- endset -%}
    {%- call relama._run() -%}
insert into answer (relama_hash)
{{ relama._row_hashes(job, empty) }};
delete from prompted_request where relama_hash in ({{ empty }});
{{ relama._write_answers(job, 'i.relama_hash in (select relama_hash from answer)') }}
    {%- endcall -%}
{%- endmacro %}

{#
    Prepares what every round executes: a table created later makes DuckDB plan each of
    these statements again whenever it is executed.

    statements  mapping of names to statements that a materialization has beside
#}
{% macro _prepare_batch(job, statements) -%}
    {%- do job.update({'prepared': statements}) -%}
    {%- set statements = dict(statements) -%}
    {%- set language_model = job['language_model'] -%}
    {%- set layers = language_model['num_hidden_layers'] -%}
    {%- set caches = relama._kv_cache_names(layers) -%}
    {%- set pages = relama._kv_pages_names(layers) -%}
    {%- do statements.update({
        'forward': 'insert into step select * from ' ~ language_model['function'] ~ '()'
    }) -%}
    {%- for layer in range(layers) -%}
        {%- do statements.update({
            'append_' ~ layer: 'insert into ' ~ caches[layer]
                ~ ' select sequence_id, position, kv_head, key, value from step'
                ~ ' where layer = ' ~ layer,
        }) -%}
        {%- if not language_model['native'] -%}
            {%- set packed -%}
insert into {{ pages[layer] }}
{{ relama.kv_page(
    '(select * from ' ~ caches[layer] ~ ' where sequence_id in (select sequence_id from packing))',
    language_model['head_dim']
) }}
            {%- endset -%}
            {%- do statements.update({
                'pack_' ~ layer: packed,
                'unpack_' ~ layer: 'delete from ' ~ caches[layer]
                    ~ ' where sequence_id in (select sequence_id from packing)',
                'leave_cache_' ~ layer: 'delete from ' ~ caches[layer]
                    ~ ' where sequence_id in (select sequence_id from finished)',
                'leave_pages_' ~ layer: 'delete from ' ~ pages[layer]
                    ~ ' where sequence_id in (select sequence_id from finished)',
            }) -%}
        {%- endif -%}
    {%- endfor -%}
    {%- for name in statements -%}
        {%- call relama._run() -%}
prepare relama_{{ name }} as {{ statements[name] }}
        {%- endcall -%}
    {%- endfor -%}
{%- endmacro %}

{#
    Repeats the call block until `is_done(job)`. A loop of dbt's has at most 100000 rounds;
    each of ours reads a token at least, see `_append_step`.
#}
{% macro _until(is_done, job) -%}
    {%- for _ in range(100000) -%}
        {%- for _ in range(100000) -%}
            {%- if is_done(job) -%}
                {{ return('') }}
            {%- endif -%}
            {%- do caller() -%}
        {%- endfor -%}
    {%- endfor -%}
    {%- do exceptions.raise_compiler_error(model.name ~ ': there is no end to its rounds.') -%}
{%- endmacro %}

{# Whether all that waited has left the batch, or must. #}
{% macro _all_answered(job) -%}
    {{ return(job['done'] == job['waiting'] or relama._is_over(job)) }}
{%- endmacro %}

{# Whether all that is running has been read to its end, or will not be. #}
{% macro _has_read_all(job) -%}
    {{ return(relama._is_over(job) or relama._value('select bool_and(has_read = len(token_ids)) from running')) }}
{%- endmacro %}

{#
    Reads all that is running to its end, round by round, and executes a prepared
    statement after each.
#}
{% macro _read_running(job, statement) -%}
    {%- call relama._until(relama._has_read_all, job) -%}
        {%- do relama._read_tokens(job) -%}
        {%- call relama._run() -%} execute {{ statement }} {%- endcall -%}
    {%- endcall -%}
{%- endmacro %}

{# Waiting sequences take the places that are free. #}
{% macro _admit(job) -%}
    {%- set free = job['batch_size'] - job['running'] -%}
    {%- if free > 0 and job['admitted'] < job['waiting'] -%}
        {%- call relama._run() -%}
insert into running
select
    sequence_id,
    relama_hash,
    place,
    prompt_ids as token_ids,
    prompt_tokens,
    {{ job['prefix'] }} as has_read,
    {{ relama._is_long('prompt_ids', job) }} as is_long,
    0 as state,
    false as is_closing,
    0 as logprob
from prompt
where place >= {{ job['admitted'] }} and place < {{ job['admitted'] + free }}
        {%- endcall -%}
        {%- set entered = [free, job['waiting'] - job['admitted']] | min -%}
        {%- do job.update({
            'admitted': job['admitted'] + entered, 'running': job['running'] + entered
        }) -%}
    {%- endif -%}
{%- endmacro %}

{#
    One round: the forward pass over tokens that have not been read, at most
    max_batch_tokens of them, those of decoding sequences first. What it yields is in
    `step`, and in the caches unless `append` is false.
#}
{% macro _read_tokens(job) -%}
    {%- call relama._run() -%}
delete from tokens;
insert into tokens ({{ relama._round_columns(job) }})
select {{ relama._round_columns(job) }}
from (
    select
        r.sequence_id,
        true as is_prompt,
        r.has_read,
        r.is_long,
        r.has_read + i.i as position,
        r.token_ids[r.has_read + i.i + 1] as token_id,
        row_number() over (order by len(r.token_ids) - r.has_read > 1, r.place, i.i) as n
    from running as r
    cross join range({{ job['max_batch_tokens'] }}) as i (i)
    where i.i < len(r.token_ids) - r.has_read
)
where n <= {{ job['max_batch_tokens'] }}
    {%- endcall -%}
    {%- do relama._forward(job) -%}
    {%- do relama._append_step(job) -%}
    {%- call relama._run() -%}
update running as r
set has_read = r.has_read + t.n
from (select sequence_id, count(*) as n from tokens group by sequence_id) as t
where r.sequence_id = t.sequence_id
    {%- endcall -%}
{%- endmacro %}

{# The forward pass over `tokens`. #}
{% macro _forward(job) -%}
    {%- call relama._run() -%} delete from step; execute relama_forward {%- endcall -%}
{%- endmacro %}

{#
    Adds the keys and values of the step to the caches. What a sequence has in its caches is
    packed into a page once it is 16 positions or more, so that a step need not; native attention
    reads the caches as they are.
#}
{% macro _append_step(job) -%}
    {%- set layers = range(job['language_model']['num_hidden_layers']) -%}
    {%- call relama._run() -%}
        {%- for layer in layers %}
execute relama_append_{{ layer }};
        {%- endfor -%}
    {%- endcall -%}
    {%- set read = relama._value('select count(*) from tokens') -%}
    {%- if not read -%}
        {%- do exceptions.raise_compiler_error(
            model.name ~ ': a round had no token to read. This is a fault of relama.'
        ) -%}
    {%- endif -%}
    {%- do job.update({
        'positions': job['positions'] + read, 'tokens': job['tokens'] + read
    }) -%}
    {%- if job['language_model']['native'] -%}{{ return('') }}{%- endif -%}
    {%- call relama._run() -%}
delete from packing;
insert into packing
select sequence_id
from layer_00__kv_cache
group by sequence_id
having count(distinct position) >= 16
    {%- endcall -%}
    {%- if relama._value('select count(*) from packing') -%}
        {%- do relama._pack(layers) -%}
    {%- endif -%}
{%- endmacro %}

{# The caches of the sequences of `packing` become pages. #}
{% macro _pack(layers) -%}
    {%- for layer in layers -%}
        {%- call relama._run() -%}
execute relama_pack_{{ layer }};
execute relama_unpack_{{ layer }}
        {%- endcall -%}
    {%- endfor -%}
{%- endmacro %}

{#
    What all prompts begin with is read once, and its keys and values become those of every
    sequence, in pages where there are pages, which attention reads and nobody copies (RadixAttention, arXiv 2312.07104,
    with a tree of one branch). Where some sequences are turned by short factors and others by long
    ones, or may come to be, each reads it for itself.

    growth  tokens that are read after a prompt and its target, at most
#}
{% macro _read_shared_prefix(job, growth=0) -%}
    {%- set shared -%}
select
    least(
        coalesce(
            list_min(list_filter(
                range(1, length + 1), lambda i: least_ids[i] <> largest_ids[i]
            )) - 1,
            length
        ),
        length - 1
    )
from (
    select
        min(prompt_tokens) as length,
        min(prompt_ids) as least_ids,
        max(prompt_ids) as largest_ids
    from prompt
)
    {%- endset -%}
    {%- set prefix = relama._value(shared) if job['waiting'] > 1 else 0 -%}
    {%- if prefix >= 4 and job['share_prefix'] and relama._are_alike(job, growth) -%}
        {%- for first in range(0, prefix, job['max_batch_tokens']) if not relama._is_over(job) -%}
            {%- set end = [prefix, first + job['max_batch_tokens']] | min -%}
            {%- call relama._run() -%}
delete from tokens;
insert into tokens ({{ relama._round_columns(job) }})
select {{ relama._round_columns(job) }}
from (
    select
        -1 as sequence_id,
        i.i as position,
        prompt.prompt_ids[i.i + 1] as token_id,
        true as is_prompt,
        {{ first }} as has_read,
        {{ relama._is_long('prompt.prompt_ids', job) }} as is_long
    from prompt
    cross join range({{ first }}, {{ end }}) as i (i)
    where prompt.place = 0
)
            {%- endcall -%}
            {%- do relama._forward(job) -%}
            {%- do relama._append_step(job) -%}
        {%- endfor -%}
        {%- if job['is_stopped'] -%}{{ return('') }}{%- endif -%}
        {%- call relama._run() -%}
delete from packing;
insert into packing values (-1)
        {%- endcall -%}
        {%- set layers = job['language_model']['num_hidden_layers'] -%}
        {%- set shared = relama._kv_cache_names(layers) -%}
        {%- if not job['language_model']['native'] -%}
            {%- do relama._pack(range(layers)) -%}
            {%- set shared = relama._kv_pages_names(layers) -%}
        {%- endif -%}
        {%- for table in shared -%}
            {%- call relama._run() -%}
update {{ table }} set sequence_id = null
            {%- endcall -%}
        {%- endfor -%}
        {%- do job.update({'prefix': prefix}) -%}
        {%- do log(
            model.name ~ ': the ' ~ prefix ~ ' tokens that all prompts begin with are read once',
            info=true
        ) -%}
    {%- endif -%}
{%- endmacro %}

{# Whether a row i of `input_row` has its answer by what is in `finished`. A condition. #}
{% macro _is_finished(job) -%}
    {{ return(
        'i.relama_hash in (' ~ relama._row_hashes(job, 'select relama_hash from finished') ~ ') '
        ~ 'and i.relama_hash in (select relama_hash from answer)'
    ) }}
{%- endmacro %}

{#
    The sequences of `finished` leave the batch, and their answers are written.

    answer  a statement that puts them into `answer`, or none where they are there
#}
{% macro _leave(job, answer=none) -%}
    {%- set left = relama._value('select count(*) from finished') -%}
    {%- if left -%}
        {%- call relama._run() -%}
            {%- if answer %}
{{ answer }};
            {%- endif %}
{{ relama._write_answers(
    job,
    relama._is_finished(job),
    relama._used_by_finished(job)
) }}
delete from running where sequence_id in (select sequence_id from finished);
        {%- if not job['language_model']['native'] %}
            {%- for layer in range(job['language_model']['num_hidden_layers']) %}
execute relama_leave_cache_{{ layer }};
execute relama_leave_pages_{{ layer }};
            {%- endfor %}
        {%- endif %}
delete from finished
        {%- endcall -%}
        {%- do job.update({'running': job['running'] - left, 'done': job['done'] + left}) -%}
        {%- do relama._show_progress(job['progress'], job['done'], job['tokens']) -%}
        {%- do relama._forget(job) -%}
    {%- endif -%}
{%- endmacro %}

{#
    Writes the tables anew without the rows of sequences that have left, and prepares the
    statements again: where what has left is 512 MB, since deleted rows of a temporary table
    keep their memory until the table goes, and with native attention where it is as much as
    what is left. That attention passes over such rows sooner than DuckDB over deleted ones,
    which it leaves out by copying keys and values of the others, once for every query.
#}
{% macro _forget(job) -%}
    {%- set language_model = job['language_model'] -%}
    {%- set position_bytes = 24 * language_model['num_hidden_layers']
        * language_model['num_key_value_heads'] * language_model['head_dim'] -%}
    {%- set left = relama._positions_left(job) -%}
    {%- set gone = job['positions'] - left -%}
    {%- if
        job['done'] < job['waiting']
        and (gone * position_bytes > 536870912 or language_model['native'] and gone >= left)
    -%}
        {%- do relama._keep_running(job) -%}
    {%- endif -%}
{%- endmacro %}

{# How many positions of what is running have been read, and of what all begin with. #}
{% macro _positions_left(job) -%}
    {%- set prefix = job['prefix'] -%}
    {{ return(prefix + relama._value(
        'select coalesce(sum(has_read - ' ~ prefix ~ '), 0) from running'
    ) | int) }}
{%- endmacro %}

{# Writes the tables anew with what has been read of what is running, and no more. #}
{% macro _keep_running(job) -%}
    {%- set layers = job['language_model']['num_hidden_layers'] -%}
    {%- set kept = relama._kv_cache_names(layers) -%}
    {%- if not job['language_model']['native'] -%}
        {%- set kept = kept + relama._kv_pages_names(layers) -%}
    {%- endif -%}
    {%- for name in kept + ['tokens', 'step', 'running'] -%}
        {%- call relama._run() -%}
create or replace temporary table {{ name }} as
select *
from {{ name }}
            {%- if name in kept %}
where
    sequence_id is null
    or sequence_id in (select sequence_id from running where has_read > 0)
            {%- endif %}
        {%- endcall -%}
    {%- endfor -%}
    {%- do relama._prepare_batch(job, job['prepared']) -%}
    {%- do job.update({'positions': relama._positions_left(job)}) -%}
{%- endmacro %}

{#
    Has the sequences that have become longer than the original context read again: what the
    caches hold of them has been turned by the short factors, see `rotary_angles`.
#}
{% macro _outgrow(job) -%}
    {%- set grown = 'not is_long and ' ~ relama._is_long('token_ids', job) -%}
    {%- if
        relama._has_long_factors(job)
        and relama._value('select count(*) from running where ' ~ grown)
    -%}
        {%- call relama._run() -%}
update running set is_long = true, has_read = 0 where {{ grown }}
        {%- endcall -%}
        {%- do relama._keep_running(job) -%}
    {%- endif -%}
{%- endmacro %}

{#
    Whether a sequence is turned by the long factors of a rotary embedding that has such: all of it,
    where it has more tokens than the original context. A condition.

    token_ids  a list of its tokens, without those that are read after it and are not kept, of
               which the job has `label_tokens`
#}
{% macro _is_long(token_ids, job) -%}
    {%- if not relama._has_long_factors(job) -%}{{ return('false') }}{%- endif -%}
    {{ return(
        'len(' ~ token_ids ~ ') + ' ~ job.get('label_tokens', 0) ~ ' > '
        ~ job['language_model']['original_max_position_embeddings']
    ) }}
{%- endmacro %}

{# Whether the rotary embedding of the language model has long factors beside short ones. #}
{% macro _has_long_factors(job) -%}
    {{ return('original_max_position_embeddings' in job['language_model']) }}
{%- endmacro %}

{# Whether all that waits is turned by the same factors, from beginning to end. #}
{% macro _are_alike(job, growth) -%}
    {%- set is_long = relama._is_long('prompt_ids', job) -%}
    {{ return(
        not relama._has_long_factors(job)
        or relama._value(
            'select bool_and(' ~ is_long ~ ') or not bool_or(' ~ growth ~ ' + ' ~ is_long ~ ') from prompt'
        )
    ) }}
{%- endmacro %}

{# The columns of `tokens` that a round fills. #}
{% macro _round_columns(job) -%}
    {{ return(
        'sequence_id, position, token_id, is_prompt, has_read'
        ~ (', is_long' if relama._has_long_factors(job) else '')
    ) }}
{%- endmacro %}

{# The last hidden states of the sequences that have been read to their end. A select. #}
{% macro _last_hidden() -%}
select
    s.sequence_id,
    s.position,
    s.vector
from step as s
inner join running as r
    on s.sequence_id = r.sequence_id and s.position = len(r.token_ids) - 1
where s.layer is null
{%- endmacro %}
