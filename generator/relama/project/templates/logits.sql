with hidden as (

    {{ relama.last_position(relama.input('<< inputs[0] >>')) | indent(4) }}

),

logits as (

    {{ relama.logits('hidden', ref('<< weight >>'), storage='<< storage >>') | indent(4) }}

)

select * from logits
