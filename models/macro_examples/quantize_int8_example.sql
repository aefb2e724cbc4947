-- code = round(x / scale), scale = max |x| / 127
with quantized as (

    {{ relama.quantize_int8(ref('example_matrix')) | indent(4) }}

)

select
    row_id,
    vector,
    round(scale, 6) as scale
from quantized
