-- scale = max |x| / largest code, of a matrix of 6 rows
with quantized as (

    {{ relama.quantize_int6(ref('example_matrix'), rows=6) | indent(4) }}

)

select
    row_id,
    vector,
    round(scale, 6) as scale
from quantized
