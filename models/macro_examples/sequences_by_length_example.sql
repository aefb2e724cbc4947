-- How many tokens of each sequence have been read, by the factors that its length asks for.
with tokens as (

    select * from {{ ref('example_tokens') }}

),

sequences as (

    {{ relama.sequences('tokens', long_factors=true) | indent(4) }}

)

select * from sequences
