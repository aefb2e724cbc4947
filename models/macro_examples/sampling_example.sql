-- How the next token is chosen: by the relation, or by the variable where it is given.
with sampling as (

    {{ relama.sampling(ref('example_sampling')) | indent(4) }}

)

select
    temperature,
    top_k,
    top_p,
    seed
from sampling
