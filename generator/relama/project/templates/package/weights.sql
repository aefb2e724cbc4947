-- The tables of all weights that layers read, each with the tensors that it is made of. They are
-- written at once, and again only when what they are made of changes: see relama_weights.
{% set tables = [
<%- for table in tables %>
    << table | tojson >>,
<%- endfor %>
] %}
{{ config(materialized='relama_weights', meta={'tables': tables}) }}
{%- for table in tables %}
{%- for part in table.parts %}
{%- do source('staged_weights', part.tensor) %}
{%- do source('staged_weights', part.bias) if part.bias %}
{%- endfor %}
{%- endfor %}
select name
from (
    values
{%- for table in tables %}
        ('{{ table.name }}'){{ ',' if not loop.last }}
{%- endfor %}
) as weights (name)
