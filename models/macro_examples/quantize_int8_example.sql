-- code = round(x / scale), scale = max |x| / 127
with quantized as (

    {{ relama.quantized(ref('example_matrix'), 'int8') | indent(4) }}

)

select
    row_id,
    vector,
    round(scale, 6) as scale
from quantized
