<< name >> as (

    {{ relama.embedding('step_input', ref('<< weight >>'), storage='<< storage >>') | indent(4) }}

)
