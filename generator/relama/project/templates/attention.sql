with rotated as (

    select * from {{ relama.input('<< inputs[0] >>') }}

),

cached as (

    select * from {{ source('state', '<< cache >>') }}

),

appended as (

    select * from {{ relama.input('<< inputs[1] >>') }}

),

pages as (

    select * from {{ source('state', '<< pages >>') }}

),

paged as (

    select * from {{ relama.input('paged') }}

),

attended as (

    {{ relama.attention(
        'rotated',
        'cached',
        'appended',
        'pages',
        'paged',
        num_heads=<< config.num_attention_heads >>,
        num_kv_heads=<< config.num_key_value_heads >>,
        head_dim=<< config.head_dim >>,
        single_token=relama.single_token()
    ) | indent(4) }}

)

select * from attended
