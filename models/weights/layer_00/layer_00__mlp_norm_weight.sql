with stacked as (

    select
        w.row_id,
        w.vector
    from {{ relama.staged(source('staged_weights', 'layer_00__post_attention_layernorm')) }} as w

)

select * from stacked
