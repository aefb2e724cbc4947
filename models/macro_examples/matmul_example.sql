-- y = weight x
with hidden as (

    select * from {{ ref('example_hidden') }}

),

product as (

    {{ relama.matmul('hidden', ref('example_matrix')) | indent(4) }}

)

select * from product
