{{ config(materialized='table') }}

-- All that one step of the model yields: the keys and values of every layer, and
-- the next token of every sequence (its row has no layer). It is written at once;
-- small incremental models then append it to where it belongs.
with key_values as (
<% for layer in layers %>
    select * from {{ ref('<< layer >>') }}
<%- if not loop.last %>

    union all
<% endif %>
<%- endfor %>

),

next_token as (

    -- depends_on: {{ ref('final_norm') }}
    -- depends_on: {{ ref('logits') }}
    select * from {{ ref('next_token') }}

)

select
    layer,
    sequence_id,
    position,
    kv_head,
    key,
    value,
    cast(null as integer) as token_id,
    cast(null as real) as logprob
from key_values

union all

select
    null as layer,
    sequence_id,
    position,
    null as kv_head,
    null as key,
    null as value,
    token_id,
    logprob
from next_token
