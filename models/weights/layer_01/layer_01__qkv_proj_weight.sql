with stacked as (

    select
        w.row_id,
        w.vector,
        b.value as bias
    from {{ relama.staged(source('staged_weights', 'layer_01__q_proj')) }} as w
    inner join {{ relama.staged(source('staged_weights', 'layer_01__q_proj_bias')) }} as b
        on w.row_id = b.row_id

    union all

    select
        w.row_id + 48 as row_id,
        w.vector,
        b.value as bias
    from {{ relama.staged(source('staged_weights', 'layer_01__k_proj')) }} as w
    inner join {{ relama.staged(source('staged_weights', 'layer_01__k_proj_bias')) }} as b
        on w.row_id = b.row_id

    union all

    select
        w.row_id + 64 as row_id,
        w.vector,
        b.value as bias
    from {{ relama.staged(source('staged_weights', 'layer_01__v_proj')) }} as w
    inner join {{ relama.staged(source('staged_weights', 'layer_01__v_proj_bias')) }} as b
        on w.row_id = b.row_id

),

blocks as (

    {{ relama.matrix_blocks(
        'stacked',
        rows=80,
        blocks=1,
        storage='float32',
        bias=true
    ) | indent(4) }}

)

select * from blocks
