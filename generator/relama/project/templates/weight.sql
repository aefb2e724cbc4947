{{ relama.weight_table(
    [
<%- for part in table.parts %>
        {
            'tensor': source('staged_weights', '<< part.tensor >>'),
<%- if 'bias' in part %>
            'bias': source('staged_weights', '<< part.bias >>'),
<%- endif %>
            'rows': << part.rows >>
        },
<%- endfor %>
    ],
    storage='<< table.storage >>',
    blocks=<< table.blocks >>
<%- if table.num_experts %>,
    num_experts=<< table.num_experts >>
<%- endif %>
) }}
