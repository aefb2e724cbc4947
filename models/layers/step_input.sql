{{ config(materialized=relama.activation()) }}

-- The tokens that no step has read yet: the prompt at first, then the last token.
with tokens as (

    select * from {{ source('state', 'tokens') }}

),

step_input as (

    {{ relama.step_input('tokens') | indent(4) }}

)

select * from step_input
