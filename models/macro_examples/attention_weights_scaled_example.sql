-- weight = softmax(query . key * 1); query heads 0 and 1 share key head 0,
-- 2 and 3 share key head 1
with rotated as (

    select * from {{ ref('example_hidden') }}

),

cached as (

    select * from {{ ref('example_cache') }}

),

appended as (

    select * from {{ ref('example_appended') }}

),

attention_weights as (

    {{ relama.attention_weights(
        'rotated',
        'cached',
        'appended',
        num_heads=4,
        num_kv_heads=2,
        head_dim=4,
        scaling=1
    ) | indent(4) }}

)

select
    sequence_id,
    position,
    head,
    {{ relama._rounded_vector('vector') }} as vector
from attention_weights
