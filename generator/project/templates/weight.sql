<%- for part in parts %>
<%- if not loop.first %>

union all

<% endif -%>
select
<%- if part.offset %>
    w.row_id + << part.offset >> as row_id,
<%- else %>
    w.row_id,
<%- endif %>
    w.vector
<%- if has_bias %>,
    <% if part.staged_bias %>b.value<% else %>cast(0 as real)<% endif %> as bias
<%- endif %>
from {{ source('staged_weights', '<< part.staged >>') }} as w
<%- if part.staged_bias %>
inner join {{ source('staged_weights', '<< part.staged_bias >>') }} as b
    on w.row_id = b.row_id
<%- endif %>
<%- endfor %>
