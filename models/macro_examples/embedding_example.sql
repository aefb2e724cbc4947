-- x = weight[token_id]
with tokens as (

    select * from {{ ref('example_tokens') }}

),

embedded as (

    {{ relama.embedding('tokens', ref('example_matrix')) | indent(4) }}

)

select * from embedded
