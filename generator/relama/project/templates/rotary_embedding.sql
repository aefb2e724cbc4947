with angles as (

    select * from << read('rotary_angles') >>

)
<%- for input in inputs %>,

<< input.rpartition('__')[2] >> as (

    select * from << read(input) >>

)
<%- endfor %>,

rotary_embedding as (

    {{ relama.rotary_embedding(
        [
<%- for input in inputs %>
            ('<< input.rpartition('__')[2] >>', << attributes.num_heads[loop.index0] >>),
<%- endfor %>
        ],
        'angles',
        head_dim=<< attributes.head_dim >>,
        single_token=relama.single_token()
    ) | indent(4) }}

)

select * from rotary_embedding
