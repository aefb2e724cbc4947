-- step * (code - zero point), of a row that is one group
with quantized as (

    {{ relama.quantized(ref('example_matrix'), 'int4') | indent(4) }}

)

select
    row_id,
    steps,
    round(scale * 63, 4) as step,
    vector[1][33] + vector[1][34] / 16 as zero_point,
    vector[1][:4] as codes
from quantized
