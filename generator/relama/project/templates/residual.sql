<< name >> as (

    {{ relama.residual('<< reads[0] >>', '<< reads[1] >>'<% if attributes.multiplier != 1 %>, multiplier=<< attributes.multiplier >><% endif %><% if reads | length == 3 %>, gate='<< reads[2] >>'<% endif %>, single_token=relama.single_token()) | indent(4) }}

)
