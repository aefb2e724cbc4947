-- Layer << layer >>: the keys and values that it appends to the cache and, without a number of the
-- layer, the hidden states that it hands on.
<%- for name in before %>
-- depends_on: {{ ref('<< name >>') }}
<%- endfor %>
{{ << macro >>(<< layer >>) }}
