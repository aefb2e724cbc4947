<< name >> as (

    {{ relama.geglu('<< reads[0] >>', <% if reads | length == 2 %>'<< reads[1] >>'<% else %>none<% endif %>, size=<< attributes.intermediate_size >>) | indent(4) }}

)
