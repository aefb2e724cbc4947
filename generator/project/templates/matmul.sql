with hidden as (

    select * from {{ ref('<< inputs[0] >>') }}

)
<%- if inputs | length == 2 %>,

residual as (

    select * from {{ ref('<< inputs[1] >>') }}

)
<%- endif %>,

product as (

    {{ relama.matmul(
        'hidden',
        ref('<< weight >>'),
        rows=<< rows >>,
        columns=<< columns >>
<%- if bias %>,
        bias=true
<%- endif %>
<%- if inputs | length == 2 %>,
        residual='residual'
<%- endif %>
    ) | indent(4) }}

)

select * from product
