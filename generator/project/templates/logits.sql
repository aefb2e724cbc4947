with hidden as (

    {{ relama.last_position(ref('<< inputs[0] >>')) | indent(4) }}

),

weight as (

    select * from {{ ref('<< weight >>') }}

)

{{ relama.logits('hidden', 'weight') }}
