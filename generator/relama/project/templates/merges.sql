-- The merges of the tokenizer's byte pair encoding; a pair of tokens is one number.
select
    merge_rank,
    cast(left_token_id as bigint) * 1048576 + right_token_id as pair,
    token_id
from {{ relama.staged(source('staged_weights', 'merges')) }}
