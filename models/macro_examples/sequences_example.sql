-- How many tokens of each sequence have been read.
with tokens as (

    select * from {{ ref('example_tokens') }}

),

sequences as (

    {{ relama.sequences('tokens') | indent(4) }}

)

select * from sequences
