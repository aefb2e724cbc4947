{{ relama.weight_table(
    [
        {
            'tensor': source('staged_weights', 'layer_01__gate_proj'),
            'bias': source('staged_weights', 'layer_01__gate_proj_bias'),
            'rows': 88
        },
        {
            'tensor': source('staged_weights', 'layer_01__up_proj'),
            'bias': source('staged_weights', 'layer_01__up_proj_bias'),
            'rows': 88
        },
    ],
    storage='float32',
    blocks=1
) }}
