-- logit = weight x
with hidden as (

    select * from {{ ref('example_hidden') }}

),

logits as (

    {{ relama.logits('hidden', ref('example_matrix')) | indent(4) }}

)

select * from logits
