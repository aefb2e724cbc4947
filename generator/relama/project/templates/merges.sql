-- The merges of the tokenizer's byte pair encoding, with a character for each token.
select
    merge_rank,
    concat(
        {{ relama.token_symbol('left_token_id') }},
        {{ relama.token_symbol('right_token_id') }}
    ) as pair,
    {{ relama.token_symbol('token_id') }} as symbol
from {{ relama.staged(source('staged_weights', 'merges')) }}
