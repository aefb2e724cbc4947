{{ config(
    materialized='relama_function',
    pre_hook="{{ relama.create_batch_state(<< layers | length >><% if config.original_context %>, long_factors=true<% endif %>) }}"
) }}

-- The forward pass over the tokens of a batch, a function without arguments that the
-- materializations relama_complete, relama_classify, relama_score and relama_embed
-- call: keys and values of every layer, and the hidden states after the final norm
-- (their rows have no layer). They also read:
-- depends_on: {{ ref('weights') }}
-- depends_on: {{ ref('vocabulary') }}
-- depends_on: {{ ref('merges') }}
-- depends_on: {{ ref('alphabet') }}
with layers as (
<% for layer in layers %>
    select * from {{ ref('<< layer >>').render() }}
<%- if not loop.last %>

    union all
<% endif %>
<%- endfor %>

)

select *
from layers
where layer is not null

union all

select
    null as layer,
    sequence_id,
    position,
    null as kv_head,
    null as key,
    null as value,
    vector
from {{ ref('final_norm').render() }}
