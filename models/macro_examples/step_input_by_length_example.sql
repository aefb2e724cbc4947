-- The tokens that no step has read yet, and whether their sequences are long.
with tokens as (

    select * from {{ ref('example_tokens') }}

),

step_input as (

    {{ relama.step_input('tokens', long_factors=true) | indent(4) }}

)

select * from step_input
