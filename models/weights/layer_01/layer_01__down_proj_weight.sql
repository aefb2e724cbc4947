with stacked as (

    select
        w.row_id,
        w.vector,
        b.value as bias
    from {{ relama.staged(source('staged_weights', 'layer_01__down_proj')) }} as w
    inner join {{ relama.staged(source('staged_weights', 'layer_01__down_proj_bias')) }} as b
        on w.row_id = b.row_id

),

blocks as (

    {{ relama.matrix_blocks(
        'stacked',
        rows=48,
        blocks=1,
        storage='float32',
        bias=true
    ) | indent(4) }}

)

select * from blocks
