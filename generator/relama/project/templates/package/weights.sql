-- The names of the tables of all weights that layers read. They are written at once, and again only
-- when what they are made of changes, which is what `meta` says: see relama_weights.
{{ config(materialized='relama_weights') }}
{%- for tensor in [
<%- for tensor in tensors %>
    '<< tensor >>',
<%- endfor %>
] %}
{%- do source('staged_weights', tensor) %}
{%- endfor %}
select name
from (
    values
{%- for table in config.get('meta', {}).get('tables', []) %}
        ('{{ table.name }}'){{ ',' if not loop.last }}
{%- endfor %}
) as weights (name)
