<% if library %>{{ config(enabled=model.package_name == project_name) }}

<% endif %>-- The full pages of the cache that are not packed yet. A session appends them to
-- the table of this name whenever one has filled up.
with cached as (

    select * from {{ source('state', '<< cache >>') }}

),

pages as (

    select * from {{ source('state', '<< pages >>') }}

),

paged as (

    {{ relama.paged('cached', 'pages') | indent(4) }}

),

unpaged as (

    select cached.*
    from cached
    inner join paged
        on cached.sequence_id = paged.sequence_id and cached.position >= paged.position

),

full_pages as (

    {{ relama.kv_page(
        'unpaged', head_dim=<< head_dim >>, page_size=<< page_size >>
    ) | indent(4) }}

)

select * from full_pages
