-- The last position of every sequence.
with hidden as (

    select * from {{ ref('example_hidden') }}

),

last as (

    {{ relama.last_position('hidden') | indent(4) }}

)

select * from last
