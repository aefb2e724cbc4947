-- y[head] = [shared_1, own_1[head], shared_2, own_2[head]], of halves; two heads
with own as (

    select * from {{ ref('example_hidden') }}

),

shared as (

    select * from {{ ref('example_residual') }}

),

keys as (

    {{ relama.shared_key('own', 'shared', num_heads=2, head_dim=4, shared_dim=2) | indent(4) }}

)

select
    sequence_id,
    position,
    {{ relama._rounded_vector('vector') }} as vector
from keys
