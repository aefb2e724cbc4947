<% if not packaged %>{{ config(materialized=relama.activation()) }}

<% endif %><< comment >>
with
<%- for import, relation in imports.items() %>
<%- if not loop.first %>
<% else %> <% endif -%>
<< import >> as (

    select * from << relation >>

),
<% endfor %>
<< ctes >>

select * from << name >>
