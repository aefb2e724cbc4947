with stacked as (
<% for part in parts %>
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
    from {{ relama.staged(source('staged_weights', '<< part.staged >>')) }} as w
<%- if part.staged_bias %>
    inner join {{ relama.staged(source('staged_weights', '<< part.staged_bias >>')) }} as b
        on w.row_id = b.row_id
<%- endif %>
<%- if not loop.last %>

    union all
<% endif %>
<%- endfor %>

)
<%- set rows = 'stacked' %>
<%- if storage.name != 'float32' %>,

quantized as (

    {{ relama.quantized('stacked', '<< storage.name >>', rows=<< row_count >><% if has_bias %>, bias=true<% endif %>) | indent(4) }}

)
<%- set rows = 'quantized' %>
<%- endif %>
<%- if blocks %>,

blocks as (

    {{ relama.matrix_blocks(
        '<< rows >>',
        rows=<< row_count >>,
        blocks=<< blocks >>,
        storage='<< storage.name >>'
<%- if has_bias %>,
        bias=true
<%- endif %>
    ) | indent(4) }}

)
<%- set rows = 'blocks' %>
<%- endif %>

select * from << rows >>
