<< name >> as (

    {{ relama.residual('<< reads[0] >>', '<< reads[1] >>'<% if attributes.multiplier != 1 %>, multiplier=<< attributes.multiplier >><% endif %>, single_token=relama.single_token()) | indent(4) }}

)
