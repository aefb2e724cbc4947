with hidden as (

    select * from << read(inputs[0]) >>

),

normed as (

    {{ relama.rms_norm('hidden', ref('<< weight >>'), eps=<< attributes.eps >><% if attributes.head_dim %>, head_dim=<< attributes.head_dim >><% endif %>) | indent(4) }}

)

select * from normed
