<< name >> as (

    {{ relama.embedding('step_input', ref('<< weight >>').render(), storage='<< storage >>') | indent(4) }}

)
