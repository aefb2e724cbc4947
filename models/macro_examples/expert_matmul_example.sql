-- y = weight[expert] x, the matrices of two experts one below the other
with hidden as (

    select * from {{ ref('example_hidden') }}

),

router as (

    select * from {{ ref('example_experts') }}

),

weight as (

    select * from {{ ref('example_matrix') }}

),

product as (

    {{ relama.expert_matmul(
        'hidden',
        'router',
        'weight',
        rows=2
    ) | indent(4) }}

)

select * from product
