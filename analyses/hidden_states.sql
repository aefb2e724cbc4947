{{ config(enabled=model.package_name == project_name) }}

-- The hidden state after the embedding, after every layer and after the final norm.
-- depends_on: {{ ref('layer_00') }}
-- depends_on: {{ ref('layer_01') }}
select
    0 as place,
    'embedding' as model,
    *
from {{ ref('embedding') }}

union all

select
    1 as place,
    'layer_00__down_proj' as model,
    *
from {{ ref('layer_00__down_proj') }}

union all

select
    2 as place,
    'layer_01__down_proj' as model,
    *
from {{ ref('layer_01__down_proj') }}

union all

select
    3 as place,
    'final_norm' as model,
    *
from {{ ref('final_norm') }}
