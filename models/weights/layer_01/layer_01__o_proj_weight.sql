{{ relama.weight_table(
    [
        {
            'tensor': source('staged_weights', 'layer_01__o_proj'),
            'bias': source('staged_weights', 'layer_01__o_proj_bias'),
            'rows': 48
        },
    ],
    storage='float32',
    blocks=1
) }}
