{{ relama.weight_table(
    [
        {
            'tensor': source('staged_weights', 'layer_00__post_attention_layernorm'),
            'rows': 1
        },
    ],
    storage='float32',
    blocks=0
) }}
