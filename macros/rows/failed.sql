{#
    What becomes of rows that cannot be answered, by the setting `on_error`; the others are answered
    in any case.

        fail     they are left out of the table, and the model fails in the end and names them
        null     their answer is NULL
        capture  their answer is NULL, and a column `error` says why

    The table keeps such a row with `failed:` before its digest, so that a later run asks it again.
    `failed` has what is wrong with each: (relama_hash, error).
#}
{% macro _on_error() -%}
    {%- set on_error = relama._setting('on_error', 'fail') -%}
    {%- if on_error not in ['fail', 'null', 'capture'] -%}
        {%- do relama._bad_setting('on_error', on_error, "'fail', 'null' or 'capture'") -%}
    {%- endif -%}
    {{ return(on_error) }}
{%- endmacro %}

{#
    Takes rows that fail out of a table of what is asked.

    relation  that table
    failed    a select of (relama_hash, error)
#}
{% macro _fail_rows(job, relation, failed) -%}
    {%- call relama._run() -%}
create or replace temporary table failing as
{{ failed }};
insert into failed
        {%- if job.get('has_pairs') %}
select distinct on (p.relama_hash)
    p.relama_hash,
    f.error
from failing as f
inner join pair as p on f.relama_hash in (p.prompt_hash, p.target_hash)
where p.relama_hash not in (select relama_hash from failed);
        {%- else %}
select * from failing;
        {%- endif %}
delete from {{ relation }} where relama_hash in (select relama_hash from failing)
    {%- endcall -%}
    {%- set settled -%}
select count(*) from input_row where relama_hash in (select relama_hash from failed)
    {%- endset -%}
    {%- set count = relama._value(settled) - (job['failed'] if job['on_error'] == 'fail' else 0) -%}
    {%- if not count -%}{{ return('') }}{%- endif -%}
    {%- do job.update({'failed': job['failed'] + count}) -%}
    {%- set usage = relama._used(job, {'rows_failed': count}) -%}
    {%- if job['on_error'] == 'fail' -%}
        {%- call relama._run() -%} {{ usage }} {%- endcall -%}
        {{ return('') }}
    {%- endif -%}
    {%- set has_error = job['on_error'] == 'capture' -%}
    {%- call relama._run() -%}
insert into answer (relama_hash{{ ', error' if has_error }})
select distinct on (relama_hash)
    'failed:' || relama_hash{{ ',\n    error' if has_error }}
from failed
where 'failed:' || relama_hash not in (select relama_hash from answer);
update input_row
set relama_hash = 'failed:' || relama_hash
where relama_hash in (select relama_hash from failed);
{{ relama._write_answers(job, "starts_with(i.relama_hash, 'failed:')", usage) }}
        {%- if has_error %}
update {{ job['relation'] }} as t
set error = a.error
from answer as a
where t.relama_hash = a.relama_hash and t.error is distinct from a.error
        {%- endif %}
    {%- endcall -%}
{%- endmacro %}

{# What is said in the end of rows that have failed; none where there are none. #}
{% macro _failure(job, row_count) -%}
    {%- if not job['failed'] -%}
        {{ return(none) }}
    {%- endif -%}
    {%- set counted = model.name ~ ': ' ~ job['failed'] ~ ' of ' ~ row_count ~ ' ' ~ job['things']
        ~ ' ' -%}
    {%- if job['on_error'] == 'capture' -%}
        {{ return(counted ~ 'have no answer; their column error says why.') }}
    {%- endif -%}
    {%- set key = job['key'] -%}
    {%- set named = [] -%}
    {%- for row in relama._rows(
        'select ' ~ (key | join(", ") if key else 'left(cast(prompt as varchar), 40)') ~ ', f.error '
        ~ 'from input_row as i inner join failed as f '
        ~ "on i.relama_hash in (f.relama_hash, 'failed:' || f.relama_hash) order by all limit 3"
    ) -%}
        {%- set values = row.values() | list -%}
        {%- do named.append((values[:-1] | join(', ')) ~ ': ' ~ values[-1]) -%}
    {%- endfor -%}
    {{ return(
        counted ~ 'have no answer. ' ~ (key | join(', ') if key else 'prompt') ~ ' ' ~ named | join(' ')
        ~ (' ...' if job['failed'] > 3 else '') ~ ' Every other ' ~ job['things'][:-1]
        ~ ' is answered; '
        ~ "with on_error='capture', a column says what is wrong with each."
    ) }}
{%- endmacro %}
