<< name >> as (

    {{ relama.expert_matmul(
        '<< reads[0] >>',
        <% if reads | length == 2 %>'<< reads[1] >>'<% else %>none<% endif %>,
        << weight >>,
        rows=<< shape[0] >>,
<%- if blocks %>
        blocks=<< blocks >>,
<%- endif %>
        storage='<< storage >>',
        single_token=relama.single_token()
    ) | indent(4) }}

)
