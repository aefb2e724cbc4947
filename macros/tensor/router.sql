{#
    The experts that each token is sent to (arXiv 1701.06538, equation 2, without noise): those of
    the highest logits, the lowest number where they are equal.

        weight[expert] = exp(logits[expert]) / sum over e of exp(logits[e])

    where the sum is over the chosen experts alone if their weights are to sum to 1.

    A select of (sequence_id, position, expert_id, weight), a row for each chosen expert.

    logits           relation (sequence_id, position, vector)
    num_experts      how many experts there are
    chosen           how many of them a token is sent to
    norm_topk_prob   whether the weights of the chosen ones sum to 1
#}
{% macro router(logits, num_experts, chosen, norm_topk_prob=false) -%}
{%- set likelihood = relama._exponential('logit - highest') -%}
with scored as (

    select
        x.sequence_id as sequence_id,
        x.position as position,
        e.expert_id as expert_id,
        cast(x.vector[e.expert_id + 1] as double precision) as logit
    from {{ logits }} as x
    cross join {{ relama._series(num_experts, 'e', 'expert_id') }}

),

ranked as (

    select
        *,
        max(logit) over (partition by sequence_id, position) as highest,
        row_number() over (
            partition by sequence_id, position order by logit desc, expert_id
        ) as place
    from scored

),

likely as (

    select
        *,
        {{ likelihood }} as likelihood
    from ranked

),

weighted as (

    select
        *,
        sum({{ 'case when place <= ' ~ chosen ~ ' then likelihood end' if norm_topk_prob else 'likelihood' }})
            over (partition by sequence_id, position) as total
    from likely

)

select
    sequence_id,
    position,
    expert_id,
    {{ relama._narrowed('likelihood / total') }} as weight
from weighted
where place <= {{ chosen }}
{%- endmacro %}
