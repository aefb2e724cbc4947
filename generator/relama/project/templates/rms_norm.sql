with hidden as (

    select * from << read(inputs[0]) >>

),

normed as (

    {{ relama.rms_norm('hidden', ref('<< weight >>'), eps=<< attributes.eps >><% if by_head %>, by_head=true<% endif %>) | indent(4) }}

)

select * from normed
