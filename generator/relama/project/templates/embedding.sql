<< name >> as (

    {{ relama.embedding('step_input', relama.weight('<< weight >>'), storage='<< storage >>') | indent(4) }}

)
