with hidden as (

    select * from {{ ref('<< inputs[0] >>') }}

),

weight as (

    select * from {{ ref('<< weight >>') }}

)

{{ relama.rms_norm('hidden', 'weight', eps=<< attributes.eps >>) }}
