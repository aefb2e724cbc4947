<% if library %>{{ config(enabled=model.package_name == project_name) }}

<% endif %>-- The hidden state after the embedding, after every layer and after the final norm.
<%- for name in layers %>
-- depends_on: {{ ref('<< name >>') }}
<%- endfor %>
<%- for name in names %>
select
    << loop.index0 >> as place,
    '<< name >>' as model,
    *
from {{ ref('<< name >>') }}
<%- if not loop.last %>

union all
<% endif %>
<%- endfor %>
