-- Two heads of the first relation, one of the second, one of the second again.
with queries as (

    select * from {{ ref('example_hidden') }}

),

keys as (

    select * from {{ ref('example_residual') }}

),

heads as (

    {{ relama.split_heads([('queries', 2), ('keys', 1), ('keys', 1)], head_dim=2) | indent(4) }}

)

select * from heads
