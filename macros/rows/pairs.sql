{#
    Two texts a row: `request` becomes one row a text, under a digest of its own, the texts of the
    first rows first, and `pair` says of which two a row is. What the texts yield is kept in
    `text_embedding` until the run ends.
#}
{% macro _open_pairs(job) -%}
    {%- call relama._run() -%}
create temporary table pair as
select
    relama_hash,
    md5(prompt) as prompt_hash,
    md5(target) as target_hash
from request;
create or replace temporary table request as
select
    md5(body) as relama_hash,
    cast('0x' || substr(md5(body), 1, 15) as bigint) as sequence_id,
    body as prompt,
    row_number() over (order by min(place)) - 1 as place
from (
    select prompt as body, 2 * place as place from request
    union all
    select target as body, 2 * place + 1 as place from request
) as texts
group by body;
create temporary table text_embedding (relama_hash varchar, embedding real[])
    {%- endcall -%}
    {%- do job.update({'has_pairs': true, 'asked': job['waiting']}) -%}
{%- endmacro %}

{#
    The digests of rows that digests of what is computed are of: the same, unless a row has two
    texts. A select.

    computed  a select of relama_hash
#}
{% macro _row_hashes(job, computed) -%}
    {%- if not job.get('has_pairs') -%}
        {{ return(computed) }}
    {%- endif -%}
    {{ return(
        'select relama_hash from pair where prompt_hash in (' ~ computed ~ ') or target_hash in ('
        ~ computed ~ ')'
    ) }}
{%- endmacro %}
