with stacked as (

    select
        w.row_id,
        w.vector
    from {{ source('staged_weights', 'embed_tokens') }} as w

)

select * from stacked
