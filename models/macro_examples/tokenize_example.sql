select
    text,
    {{ relama.tokenize('text') | indent(4) }} as token_ids,
    {{ relama.count_tokens('text') | indent(4) }} as token_count
from {{ ref('example_texts') }}
