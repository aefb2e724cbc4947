-- Columns that do not apply to a token.
with tokens as (

    select * from {{ ref('example_tokens') }}

)

select
    token_id,
    {{ relama.typed_null('integer') }} as layer,
    {{ relama.typed_null('real') }} as logprob
from tokens
