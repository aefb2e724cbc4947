-- The tokens that no step has read yet.
with tokens as (

    select * from {{ ref('example_tokens') }}

),

step_input as (

    {{ relama.step_input('tokens') | indent(4) }}

)

select * from step_input
