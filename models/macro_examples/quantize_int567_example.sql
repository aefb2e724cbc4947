-- scale = max |x| / largest code, of a matrix of 6 rows
with quantized as (

    {{ relama.quantized(ref('example_matrix'), 'int567', rows=6) | indent(4) }}

)

select
    row_id,
    vector,
    round(scale, 6) as scale
from quantized
