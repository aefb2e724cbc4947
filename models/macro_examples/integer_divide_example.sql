-- The key head of each query head, three query heads sharing one: (head + 3) / 3 - 1
with heads as (

    select * from {{ ref('example_heads') }}

)

select
    head,
    {{ relama._integer_divide('head + 3', 3) }} - 1 as kv_head
from heads
