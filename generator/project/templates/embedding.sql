with step_input as (

    select * from {{ ref('step_input') }}

),

weight as (

    select * from {{ ref('<< weight >>') }}

)

{{ relama.embedding('step_input', 'weight') }}
