{{ config(
    materialized='incremental',
    incremental_strategy='append',
    full_refresh=false
) }}

select
<%- if layer is none %>
    layer,
<%- endif %>
    sequence_id,
    position,
    kv_head,
    key,
    value
from {{ ref('step') }}
where layer <% if layer is none %>is not null<% else %>= << layer >><% endif %>
