{{ relama.weight_table(
    [
        {
            'tensor': source('staged_weights', 'lm_head'),
            'rows': 101
        },
    ],
    storage='float32',
    blocks=0
) }}
