{{ config(materialized=relama.activation()) }}

{#-
    All of layer << layer >> in order, for statements of the whole forward pass. Its rows are what the
    layer appends to the KV cache.
#}
<%- for name in before %>
-- depends_on: {{ ref('<< name >>') }}
<%- endfor %>
<%- for name in operators %>
-- depends_on: {{ ref('<< name >>') }}
<%- endfor %>
select
    << layer >> as layer,
    *
from {{ relama.input('<< appended >>') }}
