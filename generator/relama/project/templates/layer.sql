{{ config(materialized=relama.activation()) }}

{#-
    All of layer << layer >> in order, for statements of the whole forward pass.
<%- if as_package %> As a package of
    another project it computes the layer: its rows are what the layer appends to the KV cache
    and, without a number of the layer, the hidden states that come out. Otherwise the operators
    are models of their own, and its rows are the former alone.
<%- else %> Its rows are what the
    layer appends to the KV cache.
<%- endif %>
#}
<%- for name in before %>
-- depends_on: {{ ref('<< name >>') }}
<%- endfor %>
<%- if as_package %>
{%- if model.package_name == project_name %}
<%- endif %>
<%- for name in operators %>
-- depends_on: {{ ref('<< name >>') }}
<%- endfor %>
select
    << layer >> as layer,
    *
from {{ relama.input('<< appended >>') }}
<%- if as_package %>
{%- else %}
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
{%- endif %}
<%- endif %>
