-- The key head of each query head, three query heads sharing one.
with heads as (

    select * from {{ ref('example_heads') }}

)

select
    head,
    {{ relama._integer_divide('head', 3) }} as kv_head
from heads
