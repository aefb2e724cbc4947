-- Where the pages of two positions end.
with tokens as (

    select * from {{ ref('example_tokens') }}

),

pages as (

    select * from {{ ref('example_pages') }}

),

paged as (

    {{ relama.paged('tokens', 'pages') | indent(4) }}

)

select * from paged
