{# The settings that embeddings depend on, checked; a mapping. #}
{% macro _embedding_settings() -%}
    {%- set settings = relama._prompt_settings(chat=false) -%}
    {%- set pooling = relama._setting('pooling', 'mean') -%}
    {%- if pooling not in ['mean', 'last'] -%}
        {%- do relama._bad_setting('pooling', pooling, "'mean' or 'last'") -%}
    {%- endif -%}
    {#- The default leaves the digest of older rows as it was. -#}
    {%- if pooling != 'mean' -%}
        {%- do settings.update({'pooling': pooling}) -%}
    {%- endif -%}
    {{ return(settings) }}
{%- endmacro %}

{#
    Answers the rows of `prompt` with an embedding: the mean over all positions of the
    hidden state after the final norm, or that of the last position, scaled to length 1,

        y = m / |m|,  m = mean over p of x[p], or x[last]

    Rows of two texts are answered with the cosine of their embeddings.
#}
{% macro _embed_rows(job, settings) -%}
    {%- set is_last = settings.get('pooling') == 'last' -%}
    {%- call relama._run() -%}
create temporary table pooling (sequence_id bigint, position integer, vector real[])
    {%- endcall -%}
    {%- set pool -%}
insert into pooling
        {%- if is_last %}
{{ relama._last_hidden() }}
        {%- else %}
select
    sequence_id,
    position,
    vector
from step
where layer is null
        {%- endif -%}
    {%- endset -%}
    {%- do relama._prepare_batch(job, {'pool': pool}) -%}
    {%- if is_last -%}
        {%- do relama._read_shared_prefix(job) -%}
    {%- endif -%}
    {%- call relama._until(relama._all_answered, job) -%}
        {%- do relama._admit(job) -%}
        {%- do relama._read_running(job, 'relama_pool') -%}
        {%- if not job['is_stopped'] -%}
            {%- call relama._run() -%} {{ relama._finish_embeddings(job) }} {%- endcall -%}
            {%- do relama._leave(job) -%}
        {%- endif -%}
    {%- endcall -%}
{%- endmacro %}

{# All that is running is finished. #}
{% macro _finish_embeddings(job) -%}
insert into finished
select
    sequence_id,
    relama_hash,
    null as finish_reason
from running;
insert into {{ 'text_embedding' if job.get('has_pairs') else 'answer' }} by name
with elements as (

    select
        sequence_id,
        unnest(vector) as element,
        generate_subscripts(vector, 1) as i
    from pooling

),

summed as (

    select
        sequence_id,
        i,
        sum(cast(element as double)) as total
    from elements
    group by sequence_id, i

),

vectors as (

    select
        sequence_id,
        list(total order by i) as totals,
        sqrt(sum(total * total)) as length
    from summed
    group by sequence_id

)

select
    r.relama_hash,
    case
        when v.length > 0 and isfinite(v.length)
            then list_transform(v.totals, lambda x: cast(x / v.length as real))
        else error('The hidden states are NaN, infinite or all zero: they have no direction.')
    end as embedding
    {%- if not job.get('has_pairs') %},
    r.prompt_tokens
    {%- endif %}
from running as r
inner join vectors as v on r.sequence_id = v.sequence_id;
    {%- if job.get('has_pairs') %}
insert into answer by name
select
    p.relama_hash,
    list_cosine_similarity(
        cast(a.embedding as double[]), cast(b.embedding as double[])
    ) as similarity
from pair as p
inner join text_embedding as a on p.prompt_hash = a.relama_hash
inner join text_embedding as b on p.target_hash = b.relama_hash
where p.relama_hash not in (select relama_hash from answer);
    {%- endif %}
delete from pooling
{%- endmacro %}
