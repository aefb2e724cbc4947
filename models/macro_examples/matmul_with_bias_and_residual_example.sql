-- y = weight x + bias + residual
with hidden as (

    select * from {{ ref('example_hidden') }}

),

residual as (

    select * from {{ ref('example_residual') }}

),

product as (

    {{ relama.matmul(
        'hidden',
        ref('example_matrix'),
        bias=true,
        residual='residual'
    ) | indent(4) }}

)

select * from product
