{#
    Answers the rows of `prompt` with an embedding: the mean over all positions of the
    hidden state after the final norm, scaled to length 1,

        y = m / |m|,  m = mean over p of x[p]
#}
{% macro _embed_rows(job) -%}
    {%- call relama._run() -%}
create temporary table pooling (sequence_id bigint, position integer, vector real[])
    {%- endcall -%}
    {%- set pool -%}
insert into pooling
select
    sequence_id,
    position,
    vector
from step
where layer is null
    {%- endset -%}
    {%- do relama._prepare_batch(job, {'pool': pool}) -%}
    {%- call relama._until(relama._all_answered, job) -%}
        {%- do relama._admit(job) -%}
        {%- do relama._read_running(job, 'relama_pool') -%}
        {%- if not job['is_stopped'] -%}
            {%- call relama._run() -%} {{ relama._finish_embeddings() }} {%- endcall -%}
            {%- do relama._leave(job) -%}
        {%- endif -%}
    {%- endcall -%}
{%- endmacro %}

{# All that is running is finished. #}
{% macro _finish_embeddings() -%}
insert into finished
select
    sequence_id,
    relama_hash,
    null as finish_reason
from running;
insert into answer by name
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
    end as embedding,
    r.prompt_tokens
from running as r
inner join vectors as v on r.sequence_id = v.sequence_id;
delete from pooling
{%- endmacro %}
