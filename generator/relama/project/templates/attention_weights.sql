with rotated as (

    select * from << read(inputs[0]) >>

),

cached as (

    select * from {{ source('state', '<< cache >>') }}

),

appended as (

    select * from << read(inputs[1]) >>

),

attention_weights as (

    {{ relama.attention_weights(
        'rotated',
        'cached',
        'appended',
        num_heads=<< attributes.num_attention_heads >>,
        num_kv_heads=<< attributes.num_key_value_heads >>,
        head_dim=<< attributes.head_dim >>
<%- if attributes.scaling is not none %>,
        scaling=<< attributes.scaling >>
<%- endif %>
    ) | indent(4) }}

)

select * from attention_weights
