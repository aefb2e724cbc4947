{{ config(
    materialized='incremental',
    incremental_strategy='append',
    full_refresh=false
) }}

-- Appended last: this is what commits a step.
-- depends_on: {{ ref('layer_00__kv_cache') }}
-- depends_on: {{ ref('layer_01__kv_cache') }}
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
