<< name >> as (

    {{ relama.<% if blocks %>block_<% endif %>matmul(
        '<< reads[0] >>',
        << weight >>,
<%- if blocks %>
        blocks=<< blocks >>,
<%- endif %>
        storage='<< storage >>'
<%- if bias %>,
        bias=true
<%- endif %>
<%- if reads | length == 2 %>,
        residual='<< reads[1] >>'
<%- endif %>,
        single_token=relama.single_token()
<%- if small %>,
        small=true
<%- endif %>
    ) | indent(4) }}

)
