-- y = softmax(query . key / sqrt(4)) . value; both query heads share one head of
-- keys and values. Cached positions from `paged` on are packed by the macro.
with rotated as (

    select * from {{ ref('example_hidden') }}

),

cached as (

    select * from {{ ref('example_cache') }}

),

appended as (

    select * from {{ ref('example_appended') }}

),

pages as (

    select * from {{ ref('example_pages') }}

),

paged as (

    select * from {{ ref('example_paged') }}

),

attended as (

    {{ relama.attention(
        'rotated',
        'cached',
        'appended',
        'pages',
        'paged',
        num_heads=2,
        num_kv_heads=1,
        head_dim=4,
        single_token=relama.single_token()
    ) | indent(4) }}

)

select
    sequence_id,
    position,
    {{ relama._rounded_vector('vector') }} as vector
from attended
