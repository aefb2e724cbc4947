-- vector[position] = value[dimension]
with cache as (

    select * from {{ ref('example_cache') }}

),

turned as (

    {{ relama._values_by_dimension('cache', head_dim=2) | indent(4) }}

)

select * from turned
