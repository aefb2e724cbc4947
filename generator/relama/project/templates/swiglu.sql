<< name >> as (

    {{ relama.swiglu('<< reads[0] >>', <% if reads | length == 2 %>'<< reads[1] >>'<% else %>none<% endif %>, size=<< attributes.intermediate_size >><% if attributes.by_expert %>, by_expert=true<% endif %>) | indent(4) }}

)
