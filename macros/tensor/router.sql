{#
    The experts that each token is sent to (arXiv 1701.06538, equation 2, without noise): those of
    the highest scores, the lowest number where they are equal.

        score[expert] = exp(logits[expert]) / sum over e of exp(logits[e])
        weight[expert] = score[expert] * scaling

    where a weight is the share in the scores of the chosen experts if those are to sum to 1.
    DeepSeek-V3 (arXiv 2412.19437, section 2.1.2) scores by the sigmoid of the logit, and adds a
    correction to what experts are chosen by, which their weights do not have.

    A select of (sequence_id, position, expert_id, weight), a row for each chosen expert.

    logits           relation (sequence_id, position, vector)
    num_experts      how many experts there are
    chosen           how many of them a token is sent to
    norm_topk_prob   whether the weights of the chosen ones sum to 1, before they are scaled
    scoring_func     'softmax' or 'sigmoid'
    correction       relation of one row (row_id, vector); none without a correction
    n_group          into how many groups of neighbours experts are cut; see topk_group
    topk_group       from how many of the groups experts are chosen; none for all
    group_score_of   how many of its best experts a group is judged by, by their sum
    scaling          what weights are multiplied by
#}
{% macro router(
    logits, num_experts, chosen, norm_topk_prob=false, scoring_func='softmax', correction=none,
    n_group=1, topk_group=none, group_score_of=1, scaling=1
) -%}
    {{ return(adapter.dispatch('router', 'relama')(
        logits, num_experts, chosen, norm_topk_prob, scoring_func, correction, n_group, topk_group,
        group_score_of, scaling
    )) }}
{%- endmacro %}

{#
    Without groups, all experts of a token in one row: windows over a row for each of them take
    DuckDB four times as long.
#}
{% macro duckdb__router(
    logits, num_experts, chosen, norm_topk_prob, scoring_func, correction, n_group, topk_group,
    group_score_of, scaling
) -%}
    {%- if topk_group is not none -%}
{{ relama.default__router(
    logits, num_experts, chosen, norm_topk_prob, scoring_func, correction, n_group, topk_group,
    group_score_of, scaling
) }}
    {%- else -%}
with likely as (

    select
        x.sequence_id,
        x.position,
        {%- if correction is not none %}
        c.vector as correction,
        {%- endif %}
        list_transform(
            cast(x.vector as double[]),
            lambda logit: {{ '1 / (1 + exp(-logit))' if scoring_func == 'sigmoid' else 'exp(logit - list_max(x.vector))' }}
        ) as likelihoods
    from {{ logits }} as x
    {%- if correction is not none %}
    cross join {{ correction }} as c
    {%- endif %}

),

judged as (

    select
        *,
        {{ 'likelihoods' if scoring_func == 'sigmoid' else 'list_transform(likelihoods, lambda p: p / list_sum(likelihoods))' }} as scores
    from likely

),

ranked as (

    select
        *,
        list_sort(list_transform(
            scores,
            lambda score, i: {preference: -score{{ ' - correction[i]' if correction is not none }}, i: i}
        ))[:{{ chosen }}] as chosen
    from judged

),

chosen as (

    select
        sequence_id,
        position,
        scores,
        list_sum(list_transform(chosen, lambda expert: scores[expert.i])) as total,
        unnest(list_transform(chosen, lambda expert: expert.i)) as i
    from ranked

)

select
    sequence_id,
    position,
    cast(i - 1 as integer) as expert_id,
    {{ relama._narrowed(
        ('scores[i] / (total + 1e-20)' if norm_topk_prob else 'scores[i]')
        ~ (' * ' ~ scaling if scaling != 1 else '')
    ) }} as weight
from chosen
    {%- endif -%}
{%- endmacro %}

{% macro default__router(
    logits, num_experts, chosen, norm_topk_prob, scoring_func, correction, n_group, topk_group,
    group_score_of, scaling
) -%}
{%- set token = 'partition by sequence_id, position' -%}
{%- set preference = 'score' if correction is none else 'score + correction' -%}
with scored as (

    select
        x.sequence_id as sequence_id,
        x.position as position,
        e.expert_id as expert_id,
        {%- if correction is not none %}
        cast(c.vector[e.expert_id + 1] as double precision) as correction,
        {%- endif %}
        cast(x.vector[e.expert_id + 1] as double precision) as logit
    from {{ logits }} as x
    cross join {{ relama._series(num_experts, 'e', 'expert_id') }}
    {%- if correction is not none %}
    cross join {{ correction }} as c
    {%- endif %}

),

{% if scoring_func == 'sigmoid' -%}
judged as (

    select
        *,
        {{ relama._sigmoid('logit') | trim | indent(4) }} as score
    from scored

),

{% else -%}
measured as (

    select
        *,
        max(logit) over ({{ token }}) as highest
    from scored

),

likely as (

    select
        *,
        {{ relama._exponential('logit - highest') | trim }} as likelihood
    from measured

),

judged as (

    select
        *,
        likelihood / sum(likelihood) over ({{ token }}) as score
    from likely

),

{% endif -%}
{% if topk_group is not none -%}
{{ relama._in_best_groups(token, preference, num_experts // n_group, topk_group, group_score_of) }}

{% endif -%}
ranked as (

    select
        *,
        row_number() over (
            {{ token }}
            order by {{ preference }} desc, expert_id asc
        ) as place
    from {{ 'judged' if topk_group is none else 'in_best_groups' }}

),

chosen as (

    select
        *,
        sum(score) over ({{ token }}) as total
    from ranked
    where place <= {{ chosen }}

)

select
    sequence_id,
    position,
    expert_id,
    {{ relama._narrowed(
        ('score / (total + 1e-20)' if norm_topk_prob else 'score')
        ~ (' * ' ~ scaling if scaling != 1 else '')
    ) }} as weight
from chosen
{%- endmacro %}

{#
    CTEs: what is judged, of the best groups of neighbours alone (DeepSeek-V2, arXiv 2405.04434,
    section 2.2.2). A group is as good as its best experts together.
#}
{% macro _in_best_groups(token, preference, group_size, topk_group, group_score_of) -%}
in_groups as (

    select
        *,
        {{ relama._integer_divide('expert_id', group_size) }} as expert_group
    from judged

),

placed_in_groups as (

    select
        *,
        row_number() over (
            {{ token }}, expert_group
            order by {{ preference }} desc, expert_id asc
        ) as place_in_group
    from in_groups

),

judged_groups as (

    select
        *,
        sum(case when place_in_group <= {{ group_score_of }} then {{ preference }} else 0 end)
            over ({{ token }}, expert_group) as group_score
    from placed_in_groups

),

ranked_groups as (

    select
        *,
        dense_rank() over (
            {{ token }}
            order by group_score desc, expert_group asc
        ) as group_place
    from judged_groups

),

in_best_groups as (

    select *
    from ranked_groups
    where group_place <= {{ topk_group }}

),
{%- endmacro %}
