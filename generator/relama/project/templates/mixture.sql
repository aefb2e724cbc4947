<< name >> as (

    {{ relama.mixture('<< reads[0] >>', '<< reads[1] >>', '<< reads[2] >>') | indent(4) }}

)
