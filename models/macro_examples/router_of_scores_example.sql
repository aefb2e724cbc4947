-- weight = 2 * sigmoid(logits)[expert] / sum of chosen, by scores and a correction, of all experts
with logits as (

    select * from {{ ref('example_hidden') }}

),

router as (

    {{ relama.router(
        'logits',
        num_experts=4,
        chosen=2,
        norm_topk_prob=true,
        scoring_func='sigmoid',
        correction=ref('example_norm_weight'),
        scaling=2
    ) | indent(4) }}

)

select
    sequence_id,
    position,
    expert_id,
    round(weight, 4) as weight
from router
