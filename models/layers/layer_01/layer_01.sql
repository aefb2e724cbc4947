{{ config(materialized=relama.activation()) }}

-- All of layer 1 in order, for statements of the whole forward pass. Its rows are
-- what the layer appends to the KV cache.
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
/* operators */ with
__dbt__cte__layer_01__attention_norm as (

    with hidden as (

        select * from {{ relama.input('layer_00__down_proj', 'layer_00') }}

    ),

    normed as (

        {{ relama.rms_norm('hidden', ref('layer_01__attention_norm_weight'), eps=1e-05) | indent(4) }}

    )

    select * from normed

),

__dbt__cte__layer_01__qkv_proj as (

    with hidden as (

        select * from __dbt__cte__layer_01__attention_norm

    ),

    product as (

        {{ relama.block_matmul(
            'hidden',
            ref('layer_01__qkv_proj_weight'),
            blocks=1,
            storage='float32',
            bias=true,
            single_token=relama.single_token()
        ) | indent(4) }}

    )

    select * from product

),

__dbt__cte__layer_01__rotary_embedding as (

    with angles as (

        select * from {{ relama.input('rotary_angles') }}

    ),

    qkv_proj as (

        select * from __dbt__cte__layer_01__qkv_proj

    ),

    rotary_embedding as (

        {{ relama.rotary_embedding(
            [
                ('qkv_proj', 8),
            ],
            'angles',
            head_dim=8,
            single_token=relama.single_token()
        ) | indent(4) }}

    )

    select * from rotary_embedding

),

__dbt__cte__layer_01__kv_append as (

    with rotated as (

        select * from __dbt__cte__layer_01__rotary_embedding

    ),

    projected as (

        select * from __dbt__cte__layer_01__qkv_proj

    ),

    key_values as (

        {{ relama.kv_append(
            'rotated',
            'projected',
            value_offset=64,
            num_heads=6,
            num_kv_heads=2,
            head_dim=8,
            single_token=relama.single_token()
        ) | indent(4) }}

    )

    select * from key_values

),

__dbt__cte__layer_01__attention as (

    with rotated as (

        select * from __dbt__cte__layer_01__rotary_embedding

    ),

    cached as (

        select * from {{ source('state', 'layer_01__kv_cache') }}

    ),

    appended as (

        select * from __dbt__cte__layer_01__kv_append

    ),

    pages as (

        select * from {{ source('state', 'layer_01__kv_pages') }}

    ),

    paged as (

        select * from {{ relama.input('paged') }}

    ),

    attended as (

        {{ relama.attention(
            'rotated',
            'cached',
            'appended',
            'pages',
            'paged',
            num_heads=6,
            num_kv_heads=2,
            head_dim=8,
            parallelism=2,
            single_token=relama.single_token()
        ) | indent(4) }}

    )

    select * from attended

),

__dbt__cte__layer_01__o_proj as (

    with hidden as (

        select * from __dbt__cte__layer_01__attention

    ),

    residual as (

        select * from {{ relama.input('layer_00__down_proj', 'layer_00') }}

    ),

    product as (

        {{ relama.block_matmul(
            'hidden',
            ref('layer_01__o_proj_weight'),
            blocks=1,
            storage='float32',
            bias=true,
            residual='residual',
            single_token=relama.single_token()
        ) | indent(4) }}

    )

    select * from product

),

__dbt__cte__layer_01__mlp_norm as (

    with hidden as (

        select * from __dbt__cte__layer_01__o_proj

    ),

    normed as (

        {{ relama.rms_norm('hidden', ref('layer_01__mlp_norm_weight'), eps=1e-05) | indent(4) }}

    )

    select * from normed

),

__dbt__cte__layer_01__gate_up_proj as (

    with hidden as (

        select * from __dbt__cte__layer_01__mlp_norm

    ),

    product as (

        {{ relama.block_matmul(
            'hidden',
            ref('layer_01__gate_up_proj_weight'),
            blocks=1,
            storage='float32',
            bias=true,
            single_token=relama.single_token()
        ) | indent(4) }}

    )

    select * from product

),

__dbt__cte__layer_01__swiglu as (

    with gate_up as (

        select * from __dbt__cte__layer_01__gate_up_proj

    ),

    activated as (

        {{ relama.swiglu('gate_up', none, size=88) | indent(4) }}

    )

    select * from activated

),

__dbt__cte__layer_01__down_proj as (

    with hidden as (

        select * from __dbt__cte__layer_01__swiglu

    ),

    residual as (

        select * from __dbt__cte__layer_01__o_proj

    ),

    product as (

        {{ relama.block_matmul(
            'hidden',
            ref('layer_01__down_proj_weight'),
            blocks=1,
            storage='float32',
            bias=true,
            residual='residual',
            single_token=relama.single_token()
        ) | indent(4) }}

    )

    select * from product

)

/* rows */
select
    1 as layer,
    *
from __dbt__cte__layer_01__kv_append
{%- endif %}
