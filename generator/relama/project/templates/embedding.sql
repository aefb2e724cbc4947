with step_input as (

    select * from {{ relama.input('step_input') }}

),

embedded as (

    {{ relama.embedding('step_input', ref('<< weight >>'), storage='<< storage >>') | indent(4) }}

)

select * from embedded
