-- y = exp(x) / sum(exp(x))
with heads as (

    select * from {{ ref('example_heads') }}

),

probabilities as (

    {{ relama._softmax('heads', ['sequence_id', 'position', 'head']) | indent(4) }}

)

select
    sequence_id,
    position,
    head,
    {{ relama._rounded_vector('vector') }} as vector
from probabilities
