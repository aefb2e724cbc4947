-- y = weight x, the weight rounded to 8 bits
with hidden as (

    select * from {{ ref('example_hidden') }}

),

quantized as (

    {{ relama.quantized(ref('example_matrix'), 'int8') | indent(4) }}

),

blocks as (

    {{ relama.matrix_blocks('quantized', rows=4, blocks=2, storage='int8') | indent(4) }}

),

product as (

    {{ relama.block_matmul('hidden', 'blocks', blocks=2, storage='int8') | indent(4) }}

)

select
    sequence_id,
    position,
    {{ relama._rounded_vector('vector', 2) }} as vector
from product
