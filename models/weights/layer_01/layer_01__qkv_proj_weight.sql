{{ relama.weight_table(
    [
        {
            'tensor': source('staged_weights', 'layer_01__q_proj'),
            'bias': source('staged_weights', 'layer_01__q_proj_bias'),
            'rows': 48
        },
        {
            'tensor': source('staged_weights', 'layer_01__k_proj'),
            'bias': source('staged_weights', 'layer_01__k_proj_bias'),
            'rows': 16
        },
        {
            'tensor': source('staged_weights', 'layer_01__v_proj'),
            'bias': source('staged_weights', 'layer_01__v_proj_bias'),
            'rows': 16
        },
    ],
    storage='float32',
    blocks=1
) }}
