with rotated as (

    select * from << read(inputs[0]) >>

),

cached as (

    select * from {{ source('state', '<< cache >>') }}

),

appended as (

    select * from << read(inputs[1]) >>

),

pages as (

    select * from {{ source('state', '<< pages >>') }}

),

paged as (

    select * from << read('paged') >>

),

attended as (

    {{ relama.attention(
        'rotated',
        'cached',
        'appended',
        'pages',
        'paged',
        num_heads=<< attributes.num_attention_heads >>,
        num_kv_heads=<< attributes.num_key_value_heads >>,
        head_dim=<< attributes.head_dim >>,
        parallelism=<< parallelism >>,
        single_token=relama.single_token()
<%- if attributes.scaling is not none %>,
        scaling=<< attributes.scaling >>
<%- endif %>
    ) | indent(4) }}

)

select * from attended
