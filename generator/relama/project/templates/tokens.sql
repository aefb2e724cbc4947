<%- set context = config.original_context -%>
{{ config(
    materialized='incremental',
    incremental_strategy='append',
    full_refresh=false
<%- if context %>,
    post_hook="{{ relama.forget_outgrown() }}"
<%- endif %>
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
<%- if context %> With more than
    -- << context >> tokens the sequence is long: it is read again, all of it, by the long factors.
    case when position = << context >> then 0 else position end as has_read,
    logprob,
    position + 1 > << context >> as is_long
<%- else %>
    position as has_read,
    logprob
<%- endif %>
from {{ ref('step') }}
where layer is null
