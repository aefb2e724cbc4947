with stacked as (

    select
        w.row_id,
        w.vector
    from {{ relama.staged(source('staged_weights', 'lm_head')) }} as w

)

select * from stacked
