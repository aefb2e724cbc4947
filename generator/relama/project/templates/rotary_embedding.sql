<< name >> as (

    {{ relama.rotary_embedding(
        [
<%- for read in reads %>
            ('<< read >>', << attributes.num_heads[loop.index0] >>),
<%- endfor %>
        ],
        <% if attributes.angles %>'<< attributes.angles >>'<% else %>none<% endif %>,
        head_dim=<< attributes.head_dim >>,
        single_token=relama.single_token()<% if attributes.by_sequence %>,
        by_sequence=true<% endif %>
    ) | indent(4) }}

)
