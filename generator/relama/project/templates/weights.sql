{{ config(materialized='relama_weights') }}

-- The tables of all weights that layers read, made at once where this project is a package of
-- another: a table is written again only when what it is made of changes. Their models say that:
<% for name in weights %>
{%- do relama.weight('<< name >>') %}
<%- endfor %>
select name from weights
