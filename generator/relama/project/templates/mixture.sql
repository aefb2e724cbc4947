<< name >> as (

    {{ relama.mixture('<< reads[0] >>', '<< reads[1] >>', single_token=relama.single_token()) | indent(4) }}

)
