{#
    Answers the rows of `prompt` with an embedding: the mean over all positions of the
    hidden state after the final norm, scaled to length 1,

        y = m / |m|,  m = mean over p of x[p]
#}
{% macro embed_rows(job) -%}
    {%- call relama.run() -%}
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
    {%- do relama.prepare_batch(job, {'pool': pool}) -%}
    {%- call relama.until(relama.all_answered, job) -%}
        {%- do relama.admit(job) -%}
        {%- do relama.read_running(job, 'relama_pool') -%}
        {%- call relama.run() -%} {{ relama.finish_embeddings() }} {%- endcall -%}
        {%- do relama.leave(job) -%}
    {%- endcall -%}
{%- endmacro %}

{# All that is running is finished. #}
{% macro finish_embeddings() -%}
insert into finished
select
    sequence_id,
    relama_hash,
    null as finish_reason
from running;
insert into answer
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
