-- y = softmax(2 * tanh(query . key / 2)) . value over the last two positions.
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
        scaling=1,
        softcap=2,
        sliding_window=2
    ) | indent(4) }}

)

select
    sequence_id,
    position,
    {{ relama._rounded_vector('vector') }} as vector
from attended
