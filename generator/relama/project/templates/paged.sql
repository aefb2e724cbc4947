<% if not packaged %>{{ config(materialized=relama.activation()) }}

<% endif %>-- Where the pages of each sequence end: what is in the cache from there on has to
-- be packed in this step. All layers have the same pages<< ', but for those that a window has left
-- behind; this layer keeps the most' if windows >>.
with step_input as (

    select * from {{ relama.input('step_input') }}

),

pages as (

    select * from {{ source('state', '<< pages >>').render() }}

),

paged as (

    {{ relama.paged('step_input', 'pages') | indent(4) }}

)

select * from paged
