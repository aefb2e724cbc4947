<< name >> as (

    {{ relama.embedding('step_input', << weight >>, storage='<< storage >>'<% if attributes.multiplier != 1 %>, multiplier=<< attributes.multiplier >><% endif %>) | indent(4) }}

)
