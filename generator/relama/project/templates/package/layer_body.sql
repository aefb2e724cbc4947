with
<%- for import, relation in imports.items() %>
<%- if not loop.first %>
<% else %> <% endif -%>
<< import >> as (

    select * from << relation >>

),
<% endfor %>
<< ctes | join(',\n\n') >>

select
    {{ layer }} as layer,
    sequence_id,
    position,
    kv_head,
    key,
    value,
    cast(null as real[]) as vector
from << keys >>

union all

select
    null as layer,
    sequence_id,
    position,
    null as kv_head,
    null as key,
    null as value,
    vector
from << hidden >>
