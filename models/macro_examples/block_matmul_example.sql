-- y = weight x + bias + residual, the weight in two blocks of two rows
with hidden as (

    select * from {{ ref('example_hidden') }}

),

residual as (

    select * from {{ ref('example_residual') }}

),

blocks as (

    {{ relama.matrix_blocks(ref('example_matrix'), rows=4, blocks=2, bias=true) | indent(4) }}

),

product as (

    {{ relama.block_matmul(
        'hidden',
        'blocks',
        blocks=2,
        bias=true,
        residual='residual'
    ) | indent(4) }}

)

select * from product
