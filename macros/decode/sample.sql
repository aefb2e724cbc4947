{#
    Chooses the next token of every sequence, as `generate` of transformers does:
    the most likely one where the temperature is 0; otherwise the logits are
    divided by the temperature, the `top_k` best are kept (0 keeps all), of these
    the fewest whose probabilities reach `top_p`, and one is drawn.

    A select of (sequence_id, position, token_id, logprob): `position` is where
    the token goes, `logprob` its log-probability under the model's own,
    unscaled distribution. Of equal logits the lowest token id comes first.

    logits        relation (sequence_id, position, token_id, logit)
    sampling      relation of one row (temperature, top_k, top_p, seed)
    single_token  see the macro of this name
    normalised    what `log_normaliser` gives of all logits; then `logits` may lack those that
                  cannot be chosen
#}
{% macro sample(logits, sampling, single_token=false, normalised=none) -%}
    {%- set given = normalised -%}
    {%- set normalised = given or 'normalised' -%}
with {% if not given -%}
normalised as (

    {{ relama.log_normaliser(logits, single_token) | indent(4) }}

),

{% endif -%}
greedy as (

    {{ relama._greedy(logits, normalised, sampling, single_token) | indent(4) }}

),

ranked as (

    select
        l.sequence_id as sequence_id,
        l.position as position,
        l.token_id as token_id,
        l.logit as logit,
        {{ relama._exponential('(l.logit - n.largest) / s.temperature') }} as weight,
        row_number() over (
            partition by l.sequence_id, l.position
            order by l.logit desc, l.token_id asc
        ) as place,
        s.top_k as top_k,
        s.top_p as top_p,
        s.seed as seed
    from {{ logits }} as l
    inner join {{ normalised }} as n
        on l.sequence_id = n.sequence_id and l.position = n.position
    cross join {{ sampling }} as s
    where s.temperature > 0

),

top_k as (

    select
        *,
        sum(weight) over (
            partition by sequence_id, position order by place
            rows between unbounded preceding and current row
        ) as cumulative,
        sum(weight) over (partition by sequence_id, position) as total
    from ranked
    where top_k = 0 or place <= top_k

),

top_p as (

    select
        *,
        max(cumulative) over (partition by sequence_id, position) as kept
    from top_k
    where place = 1 or cumulative - weight < top_p * total

),

drawn as (

    select
        sequence_id,
        position,
        min(place) as place
    from top_p
    where
        cumulative > kept * {{ relama._uniform('seed', 'sequence_id', 'position') | indent(8) }}
    group by sequence_id, position

),

chosen as (

    select
        sequence_id,
        position,
        token_id,
        logit
    from greedy

    union all

    select
        r.sequence_id as sequence_id,
        r.position as position,
        r.token_id as token_id,
        r.logit as logit
    from ranked as r
    inner join drawn as d
        on
            r.sequence_id = d.sequence_id
            and r.position = d.position
            and r.place = d.place

)

select
    c.sequence_id as sequence_id,
    c.position + 1 as position,
    c.token_id as token_id,
    cast(c.logit - n.log_normaliser as real) as logprob
from chosen as c
inner join {{ normalised }} as n
    on c.sequence_id = n.sequence_id and c.position = n.position
{%- endmacro %}

{#
    The most likely token of each sequence, where the temperature is 0; of equal logits the
    lowest. A select of (sequence_id, position, token_id, logit).
#}
{% macro _greedy(logits, normalised, sampling, single_token) -%}
    {{ return(adapter.dispatch('_greedy', 'relama')(logits, normalised, sampling, single_token)) }}
{%- endmacro %}

{% macro default___greedy(logits, normalised, sampling, single_token) -%}
select
    {{ relama._of_token('l', single_token) | indent(4) }},
    min(l.token_id) as token_id,
    min(l.logit) as logit
from {{ logits }} as l
inner join {{ normalised }} as n
    on
        l.logit = n.largest
        and {{ relama._same('l', 'n', ['sequence_id', 'position'], single_token) }}
cross join {{ sampling }} as s
where s.temperature = 0
{{- relama._group_by_token('l', single_token) }}
{%- endmacro %}

{% macro clickhouse___greedy(logits, normalised, sampling, single_token) -%}
select
    sequence_id,
    position,
    argMax(token_id, (logit, -toInt64(token_id))) as token_id,
    max(logit) as logit
from {{ logits }}
where (select temperature from {{ sampling }}) = 0
group by sequence_id, position
{%- endmacro %}
