select
    token_ids,
    {{ relama.detokenize('token_ids') | indent(4) }} as text
from {{ ref('example_texts') }}
