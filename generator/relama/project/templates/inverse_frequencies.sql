select * from {{ relama.staged(source('staged_weights', 'inverse_frequencies')) }}
