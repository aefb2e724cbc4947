{{ config(
    materialized='incremental',
    incremental_strategy='append',
    full_refresh=false
) }}

select
    sequence_id,
    position,
    kv_head,
    key,
    value
from {{ ref('step') }}
where layer = << layer >>
