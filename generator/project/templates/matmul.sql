with hidden as (

    select * from {{ ref('<< inputs[0] >>') }}

),
<%- if inputs | length == 2 %>

residual as (

    select * from {{ ref('<< inputs[1] >>') }}

),
<%- endif %>

weight as (

    select * from {{ ref('<< weight >>') }}

)

{{ relama.matmul(
    'hidden',
    'weight',
    rows=<< rows >>
<%- if bias %>,
    bias=true
<%- endif %>
<%- if inputs | length == 2 %>,
    residual='residual'
<%- endif %>
) }}
