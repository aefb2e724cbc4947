{{ relama.weight_table(
    [
        {
            'tensor': source('staged_weights', 'embed_tokens'),
            'rows': 101
        },
    ],
    storage='float32',
    blocks=0
) }}
