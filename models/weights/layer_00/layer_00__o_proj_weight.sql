{{ relama.weight_table(
    [
        {
            'tensor': source('staged_weights', 'layer_00__o_proj'),
            'bias': source('staged_weights', 'layer_00__o_proj_bias'),
            'rows': 48
        },
    ],
    storage='float32',
    blocks=1
) }}
