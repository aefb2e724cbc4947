-- The letters that the tokenizer spells words in, with a character for each token.
select
    letter,
    {{ relama.token_symbol('token_id') }} as symbol
from {{ relama.staged(source('staged_weights', 'alphabet')) }}
