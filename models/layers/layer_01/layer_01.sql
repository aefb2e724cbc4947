{{ config(materialized=relama.activation()) }}

{#-
    All of layer 1 in order, for statements of the whole forward pass. Its rows are what the
    layer appends to the KV cache.
#}
-- depends_on: {{ ref('layer_01__attention_norm') }}
-- depends_on: {{ ref('layer_01__qkv_proj') }}
-- depends_on: {{ ref('layer_01__rotary_embedding') }}
-- depends_on: {{ ref('layer_01__kv_append') }}
-- depends_on: {{ ref('layer_01__attention') }}
-- depends_on: {{ ref('layer_01__o_proj') }}
-- depends_on: {{ ref('layer_01__mlp_norm') }}
-- depends_on: {{ ref('layer_01__gate_up_proj') }}
-- depends_on: {{ ref('layer_01__swiglu') }}
-- depends_on: {{ ref('layer_01__down_proj') }}
select
    1 as layer,
    *
from {{ relama.input('layer_01__kv_append') }}
