-- weight = 2 * sigmoid(logits)[expert], by scores and a correction, of the better of two groups
with logits as (

    select * from {{ ref('example_hidden') }}

),

router as (

    {{ relama.router(
        'logits',
        num_experts=4,
        chosen=1,
        scoring_func='sigmoid',
        correction=ref('example_norm_weight'),
        n_group=2,
        topk_group=1,
        group_score_of=2,
        scaling=2
    ) | indent(4) }}

)

select
    sequence_id,
    position,
    expert_id,
    round(weight, 4) as weight
from router
