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
    {{ return(adapter.dispatch('sample', 'relama')(logits, sampling, single_token, normalised)) }}
{%- endmacro %}

{% macro default__sample(logits, sampling, single_token, normalised) -%}
    {%- set given = normalised -%}
    {%- set normalised = given or 'normalised' -%}
with {% if not given -%}
normalised as (

    {{ relama.log_normaliser(logits, single_token) | indent(4) }}

),

{% endif -%}
greedy as (

    select
        {{ relama._of_token('l', single_token) | indent(8) }},
        min(l.token_id) as token_id,
        min(l.logit) as logit
    from {{ logits }} as l
    inner join {{ normalised }} as n
        on
            l.logit = n.largest
            and {{ relama._same('l', 'n', ['sequence_id', 'position'], single_token) }}
    cross join {{ sampling }} as s
    where s.temperature = 0
    {{- relama._group_by_token('l', single_token) | indent(4) }}

),

ranked as (

    select
        l.sequence_id,
        l.position,
        l.token_id,
        l.logit,
        {{ relama._exponential('(l.logit - n.largest) / s.temperature') }} as weight,
        row_number() over (
            partition by l.sequence_id, l.position
            order by l.logit desc, l.token_id asc
        ) as place,
        s.top_k,
        s.top_p,
        s.seed
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
        r.sequence_id,
        r.position,
        r.token_id,
        r.logit
    from ranked as r
    inner join drawn as d
        on
            r.sequence_id = d.sequence_id
            and r.position = d.position
            and r.place = d.place

)

select
    c.sequence_id,
    c.position + 1 as position,
    c.token_id,
    cast(c.logit - n.log_normaliser as real) as logprob
from chosen as c
inner join {{ normalised }} as n
    on c.sequence_id = n.sequence_id and c.position = n.position
{%- endmacro %}

{# In lists, by token: ClickHouse would compute a CTE anew for each of its readers. #}
{% macro clickhouse__sample(logits, sampling, single_token, normalised) -%}
with assumeNotNull((select (temperature, top_k, top_p, seed) from {{ sampling }})) as s,

listed as (

    select
        sequence_id,
        position,
        groupArrayInsertAt(-inf)(logit, toUInt32(token_id)) as listed
    from {{ logits }}
    group by sequence_id, position

),

normalised as (

    select
        *,
        {{ relama._largest_of('listed') | indent(8) }} as largest,
        largest + log(arraySum(x -> exp(x - largest), listed)) as log_normaliser,
        if(s.1 = 0, [], listed) as candidates
    from listed

),

ranked as (

    select
        *,
        arraySort(
            arrayMap((x, i) -> (-x, i), candidates, range(length(candidates)))
        ) as places,
        arraySlice(places, 1, if(s.2 = 0, length(places), toUInt32(s.2))) as top_k,
        arrayMap(place -> exp(toFloat32(-place.1 - largest) / s.1), top_k) as weights,
        arrayCumSum(weights) as cumulative
    from normalised

),

chosen as (

    select
        *,
        arrayCount((c, w) -> c - w < s.3 * cumulative[-1], cumulative, weights) as top_p,
        cumulative[greatest(top_p, 1)]
        * {{ relama._uniform('s.4', 'sequence_id', 'position') | indent(8) }} as drawn,
        toInt32(if(
            s.1 = 0,
            indexOf(listed, largest) - 1,
            top_k[arrayFirstIndex(c -> c > drawn, cumulative)].2
        )) as token_id
    from ranked

)

select
    sequence_id,
    position + 1 as position,
    token_id,
    toFloat32(listed[token_id + 1] - log_normaliser) as logprob
from chosen
{%- endmacro %}
