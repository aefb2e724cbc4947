select
    w.row_id,
    w.vector,
    b.value as bias
from {{ source('staged_weights', 'layer_01__down_proj') }} as w
inner join {{ source('staged_weights', 'layer_01__down_proj_bias') }} as b
    on w.row_id = b.row_id
