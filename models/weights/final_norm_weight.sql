{{ relama.weight_table(
    [
        {
            'tensor': source('staged_weights', 'norm'),
            'rows': 1
        },
    ],
    storage='float32',
    blocks=0
) }}
