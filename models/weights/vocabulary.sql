select * from {{ source('staged_weights', 'vocabulary') }}
