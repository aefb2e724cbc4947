-- Each field is a column of its type. The examples say what the fields mean.
{{ config(
    materialized='relama_extract',
    fields={
        'about': ['account', 'app', 'invoice', 'payment', 'website', 'team'],
        'is_praise': 'boolean',
        'dollars': 'decimal(8,2) null',
    },
    examples=[
        {
            'prompt': 'The search shows no results.',
            'completion': '{"about": "website", "is_praise": false, "dollars": null}',
        },
        {
            'prompt': 'You charged 19 dollars for a plan that I cancelled.',
            'completion': '{"about": "payment", "is_praise": false, "dollars": 19}',
        },
        {
            'prompt': 'I like your service a lot.',
            'completion': '{"about": "team", "is_praise": true, "dollars": null}',
        },
        {
            'prompt': 'How do I change my password?',
            'completion': '{"about": "account", "is_praise": false, "dollars": null}',
        },
    ],
    chat=false,
    max_tokens=60,
    unique_key='ticket_id'
) }}

select
    ticket_id,
    body as prompt
from {{ ref('recent_tickets') }}
