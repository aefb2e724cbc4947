-- weight = softmax(logits)[expert] / sum of chosen
with logits as (

    select * from {{ ref('example_hidden') }}

),

router as (

    {{ relama.router('logits', num_experts=4, chosen=2, norm_topk_prob=true) | indent(4) }}

)

select
    sequence_id,
    position,
    expert_id,
    round(weight, 4) as weight
from router
