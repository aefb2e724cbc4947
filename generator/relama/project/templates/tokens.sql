{{ config(
    materialized='incremental',
    incremental_strategy='append',
    full_refresh=false
) }}

-- Appended last: this is what commits a step.
<%- for layer in range(config.num_hidden_layers) %>
-- depends_on: {{ ref('layer_<< '%02d' % layer >>__kv_cache') }}
<%- endfor %>
select
    sequence_id,
    position,
    token_id,
    false as is_prompt,
    logprob
from {{ ref('step') }}
where layer is null
