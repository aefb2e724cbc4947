<% if library %>{{ config(enabled=model.package_name == project_name) }}

<% endif %>-- Scores tokens that are already known instead of choosing one: the columns are
-- those of the model `step`. The last token is predicted but not yet read, so its
-- keys and values are left to the next step.
with tokens as (

    select * from {{ source('state', 'tokens') }}

),

ends as (

    select
        sequence_id,
        max(position) as position
    from tokens
    group by sequence_id

),

key_values as (
<% for layer in layers %>
    select * from {{ ref('<< layer >>') }}
<%- if not loop.last %>

    union all
<% endif %>
<%- endfor %>

),

logits as (

    {{ relama.logits(ref('final_norm'), ref('<< head.name >>'), storage='<< head.storage >>'<% if logits.multiplier != 1 %>, multiplier=<< logits.multiplier >><% endif %><% if logits.softcap is not none %>, softcap=<< logits.softcap >><% endif %>) | indent(4) }}

),

scored as (

    {{ relama.score('logits', 'tokens') | indent(4) }}

)

select
    key_values.*,
    {{ relama.typed_null('integer') }} as token_id,
    {{ relama.typed_null('real') }} as logprob
from key_values
inner join ends on key_values.sequence_id = ends.sequence_id
where key_values.position < ends.position

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
from scored
