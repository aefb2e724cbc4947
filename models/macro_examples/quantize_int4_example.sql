-- code * step + offset, of a row that is one group
with quantized as (

    {{ relama.quantize_int4(ref('example_matrix')) | indent(4) }}

)

select
    row_id,
    steps,
    offsets,
    round(scale * 255, 4) as step,
    round(offset_scale * 127, 4) as offset_size,
    vector[1][:4] as codes
from quantized
