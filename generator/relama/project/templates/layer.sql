{{ config(materialized=relama.activation()) }}

-- All of layer << layer >> in order, for statements of the whole forward pass. Its rows are
-- what the layer appends to the KV cache.
{%- if model.package_name == project_name %}
<%- for name in before %>
-- depends_on: {{ ref('<< name >>') }}
<%- endfor %>
<%- for name, _ in operators %>
-- depends_on: {{ ref('<< name >>') }}
<%- endfor %>
select
    << layer >> as layer,
    *
from {{ relama.input('<< appended >>') }}
{%- else %}
/* operators */ with
<%- for name, sql in operators %>
<< cte_prefix >><< name >> as (

<< sql | trim | indent(4, true) >>

)<< ',' if not loop.last >>
<% endfor %>
/* rows */
<%- for name in before %>
-- depends_on: {{ ref('<< name >>') }}
<%- endfor %>
select
    << layer >> as layer,
    *
from << cte_prefix >><< appended >>
{%- endif %}
