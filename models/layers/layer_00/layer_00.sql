{{ config(materialized=relama.activation()) }}

{#-
    All of layer 0 in order, for statements of the whole forward pass. Its rows are what the
    layer appends to the KV cache.
#}
-- depends_on: {{ ref('step_input') }}
-- depends_on: {{ ref('rotary_angles') }}
-- depends_on: {{ ref('paged') }}
-- depends_on: {{ ref('embedding') }}
-- depends_on: {{ ref('layer_00__attention_norm') }}
-- depends_on: {{ ref('layer_00__qkv_proj') }}
-- depends_on: {{ ref('layer_00__rotary_embedding') }}
-- depends_on: {{ ref('layer_00__kv_append') }}
-- depends_on: {{ ref('layer_00__attention') }}
-- depends_on: {{ ref('layer_00__o_proj') }}
-- depends_on: {{ ref('layer_00__mlp_norm') }}
-- depends_on: {{ ref('layer_00__gate_up_proj') }}
-- depends_on: {{ ref('layer_00__swiglu') }}
-- depends_on: {{ ref('layer_00__down_proj') }}
select
    0 as layer,
    *
from {{ relama.input('layer_00__kv_append') }}
