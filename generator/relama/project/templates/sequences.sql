{{ config(materialized='view') }}

-- How many tokens of each sequence have been read. A view: a step commits this with its
-- token, in the table `tokens`.
with tokens as (

    select * from {{ ref('tokens') }}

),

sequences as (

    {{ relama.sequences('tokens'<% if config.original_context %>, long_factors=true<% endif %>) | indent(4) }}

)

select * from sequences
