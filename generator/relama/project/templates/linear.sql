with hidden as (

    select * from << read(inputs[0]) >>

)
<%- if inputs | length == 2 %>,

residual as (

    select * from << read(inputs[1]) >>

)
<%- endif %>,

product as (

    {{ relama.<% if blocks %>block_<% endif %>matmul(
        'hidden',
        ref('<< weight >>'),
<%- if blocks %>
        blocks=<< blocks >>,
<%- endif %>
        storage='<< storage >>'
<%- if bias %>,
        bias=true
<%- endif %>
<%- if inputs | length == 2 %>,
        residual='residual'
<%- endif %>,
        single_token=relama.single_token()
<%- if one_thread %>,
        one_thread=true
<%- endif %>
    ) | indent(4) }}

)

select * from product
