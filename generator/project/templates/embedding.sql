with step_input as (

    select * from {{ ref('step_input') }}

),

embedded as (

    {{ relama.embedding('step_input', ref('<< weight >>'), storage='<< storage >>') | indent(4) }}

)

select * from embedded
