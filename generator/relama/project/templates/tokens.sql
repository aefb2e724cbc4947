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
    -- The step has read all tokens before the one that it has chosen.
    position as has_read,
    logprob
from {{ ref('step') }}
where layer is null
