<% if not packaged %>{{ config(materialized=relama.activation()) }}

<% endif %>-- The tokens that no step has read yet: the prompt at first, then the last token.
with tokens as (

    select * from {{ source('state', 'tokens')<% if packaged %>.render()<% endif %> }}

),

step_input as (

    {{ relama.step_input('tokens'<% if config.original_context %>, long_factors=true<% endif %>) | indent(4) }}

)

select * from step_input
