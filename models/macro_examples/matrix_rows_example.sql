-- A matrix cut into blocks and put together again.
with blocks as (

    {{ relama.matrix_blocks(ref('example_matrix'), rows=3, blocks=2) | indent(4) }}

),

matrix as (

    {{ relama.matrix_rows('blocks', rows=3, blocks=2) | indent(4) }}

)

select * from matrix
