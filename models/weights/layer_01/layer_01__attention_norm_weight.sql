{{ relama.weight_table(
    [
        {
            'tensor': source('staged_weights', 'layer_01__input_layernorm'),
            'rows': 1
        },
    ],
    storage='float32',
    blocks=0
) }}
