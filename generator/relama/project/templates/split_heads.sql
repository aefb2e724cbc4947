<% for input in inputs -%>
<% if loop.first %>with <% endif %><< input.rpartition('__')[2] >> as (

    select * from << read(input) >>

),

<% endfor -%>
heads as (

    {{ relama.split_heads(
        [
<%- for input in inputs %>
            ('<< input.rpartition('__')[2] >>', << attributes.num_heads[loop.index0] >>),
<%- endfor %>
        ],
        head_dim=<< attributes.head_dim >>
    ) | indent(4) }}

)

select * from heads
