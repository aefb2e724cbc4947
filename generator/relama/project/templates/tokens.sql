{{ config(
    materialized='incremental',
    incremental_strategy='append',
    full_refresh=false
) }}

-- Appended last: this is what commits a step.
<%- for cache in caches %>
-- depends_on: {{ ref('<< cache >>') }}
<%- endfor %>
select
    sequence_id,
    position,
    token_id,
    false as is_prompt,
    logprob
from {{ ref('step') }}
where layer is null
