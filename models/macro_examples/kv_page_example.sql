-- Pages of two positions; one that is not full is left out.
with cache as (

    select * from {{ ref('example_cache') }}

),

pages as (

    {{ relama.kv_page('cache', head_dim=2, page_size=2) | indent(4) }}

)

select * from pages
