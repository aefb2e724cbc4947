with gate<% if inputs | length == 1 %>_up<% endif %> as (

    select * from << read(inputs[0]) >>

)
<%- if inputs | length == 2 %>,

up as (

    select * from << read(inputs[1]) >>

)
<%- endif %>,

activated as (

    {{ relama.swiglu(
<%- if inputs | length == 2 %>'gate', 'up'<% else %>'gate_up', none<% endif -%>
    , size=<< attributes.intermediate_size >>) | indent(4) }}

)

select * from activated
