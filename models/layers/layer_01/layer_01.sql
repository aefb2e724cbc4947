{{ config(materialized=relama.activation()) }}

{#-
    All of layer 1 in order, for statements of the whole forward pass. As a package of
    another project it computes the layer: its rows are what the layer appends to the KV cache
    and, without a number of the layer, the hidden states that come out. Otherwise the operators
    are models of their own, and its rows are the former alone.
#}
{%- if model.package_name == project_name %}
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
{%- else %}
with hidden as (

    select * from {{ relama.input('layer_00__down_proj', 'layer_00') }}

),

rotary_angles as (

    select * from {{ relama.input('rotary_angles') }}

),

paged as (

    select * from {{ relama.input('paged') }}

),

kv_cache as (

    select * from {{ source('state', 'layer_01__kv_cache').render() }}

),

kv_pages as (

    select * from {{ source('state', 'layer_01__kv_pages').render() }}

),

attention_norm as (

    {{ relama.rms_norm('hidden', relama.weight('layer_01__attention_norm_weight'), eps=1e-05) | indent(4) }}

),

qkv_proj as (

    {{ relama.block_matmul(
        'attention_norm',
        relama.weight('layer_01__qkv_proj_weight'),
        blocks=1,
        storage='float32',
        bias=true,
        single_token=relama.single_token()
    ) | indent(4) }}

),

rotary_embedding as (

    {{ relama.rotary_embedding(
        [
            ('qkv_proj', 8),
        ],
        'rotary_angles',
        head_dim=8,
        single_token=relama.single_token()
    ) | indent(4) }}

),

kv_append as (

    {{ relama.kv_append(
        'rotary_embedding',
        'qkv_proj',
        value_offset=64,
        num_heads=6,
        num_kv_heads=2,
        head_dim=8,
        single_token=relama.single_token()
    ) | indent(4) }}

),

attention as (

    {{ relama.attention(
        'rotary_embedding',
        'kv_cache',
        'kv_append',
        'kv_pages',
        'paged',
        num_heads=6,
        num_kv_heads=2,
        head_dim=8,
        parallelism=2,
        single_token=relama.single_token()
    ) | indent(4) }}

),

o_proj as (

    {{ relama.block_matmul(
        'attention',
        relama.weight('layer_01__o_proj_weight'),
        blocks=1,
        storage='float32',
        bias=true,
        residual='hidden',
        single_token=relama.single_token()
    ) | indent(4) }}

),

mlp_norm as (

    {{ relama.rms_norm('o_proj', relama.weight('layer_01__mlp_norm_weight'), eps=1e-05) | indent(4) }}

),

gate_up_proj as (

    {{ relama.block_matmul(
        'mlp_norm',
        relama.weight('layer_01__gate_up_proj_weight'),
        blocks=1,
        storage='float32',
        bias=true,
        single_token=relama.single_token()
    ) | indent(4) }}

),

swiglu as (

    {{ relama.swiglu('gate_up_proj', none, size=88) | indent(4) }}

),

down_proj as (

    {{ relama.block_matmul(
        'swiglu',
        relama.weight('layer_01__down_proj_weight'),
        blocks=1,
        storage='float32',
        bias=true,
        residual='o_proj',
        single_token=relama.single_token()
    ) | indent(4) }}

)

select
    1 as layer,
    sequence_id,
    position,
    kv_head,
    key,
    value,
    cast(null as real[]) as vector
from kv_append

union all

select
    null as layer,
    sequence_id,
    position,
    null as kv_head,
    null as key,
    null as value,
    vector
from down_proj
{%- endif %}
