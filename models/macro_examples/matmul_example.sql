-- y = weight x
with hidden as (

    select * from {{ ref('example_hidden') }}

),

product as (

    {{ relama.matmul('hidden', ref('example_matrix'), rows=4, columns=4) | indent(4) }}

)

select * from product
