-- y = weight[expert] x, a row for each of two experts
with hidden as (

    select * from {{ ref('example_hidden') }}

),

router as (

    select * from {{ ref('example_experts') }}

),

blocks as (

    {{ relama.matrix_blocks(ref('example_matrix'), rows=4, blocks=1, num_experts=2) | indent(4) }}

),

product as (

    {{ relama.expert_matmul(
        'hidden',
        'router',
        'blocks',
        rows=2,
        blocks=1
    ) | indent(4) }}

)

select * from product
