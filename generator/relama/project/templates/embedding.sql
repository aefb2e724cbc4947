<< name >> as (

    {{ relama.embedding('step_input', << weight >>, storage='<< storage >>') | indent(4) }}

)
