select * from {{ source('staged_weights', 'inverse_frequencies') }}
