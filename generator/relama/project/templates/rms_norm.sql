<< name >> as (

    {{ relama.rms_norm('<< reads[0] >>', << weight >>, eps=<< attributes.eps >><% if attributes.head_dim %>, head_dim=<< attributes.head_dim >><% endif %>) | indent(4) }}

)
