-- y[head, i] = x[head * 2 + i]
with hidden as (

    select * from {{ ref('example_hidden') }}

),

heads as (

    {{ relama._heads('hidden', heads=2, head_dim=2) | indent(4) }}

)

select * from heads
