-- y = sum over positions of weight * value; both heads share one head of values
with attention_weights as (

    select * from {{ ref('example_attention_weights') }}

),

cached as (

    select * from {{ ref('example_cache') }}

),

appended as (

    select * from {{ ref('example_appended') }}

),

attended as (

    {{ relama._weighed_values(
        'attention_weights',
        'cached',
        'appended',
        num_heads=2,
        num_kv_heads=1,
        head_dim=2
    ) | indent(4) }}

)

select * from attended
