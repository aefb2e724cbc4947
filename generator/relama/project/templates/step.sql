{{ config(materialized='<< target.step >>'<% if target.name == 'postgres' %>, pre_hook='set local jit = off'<% endif %>) }}

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
    {{ relama.typed_null('integer') }} as token_id,
    {{ relama.typed_null('real') }} as logprob
from key_values

union all

select
    {{ relama.typed_null('integer') }} as layer,
    sequence_id,
    position,
    {{ relama.typed_null('integer') }} as kv_head,
    {{ relama.typed_null('key') }} as key,
    {{ relama.typed_null('key') }} as value,
    token_id,
    logprob
from next_token
