-- Layer << layer >>: the keys and values that it appends to the cache and, without a number of the
-- layer, the hidden states that it hands on.
<%- for name in before %>
-- depends_on: {{ ref('<< name >>') }}
<%- endfor %>
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
    << layer >> as layer,
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
