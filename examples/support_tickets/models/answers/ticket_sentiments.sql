-- Labels with descriptions, and an example or two of each.
{{ config(
    materialized='relama_classify',
    instructions='Is the customer happy or unhappy?',
    labels={
        'unhappy': 'complains, or something does not work',
        'neutral': 'asks or says something without a feeling',
        'happy': 'is happy, thanks or praises',
    },
    examples=[
        {'prompt': 'The new search is great, thank you!', 'label': 'happy'},
        {'prompt': 'How do I add a colleague to my team?', 'label': 'neutral'},
        {'prompt': 'You lost my data, this is a disaster.', 'label': 'unhappy'},
        {'prompt': 'The save button does not work any more.', 'label': 'unhappy'},
        {'prompt': 'Please send the invoice to our new address.', 'label': 'neutral'},
        {'prompt': 'I like your service a lot.', 'label': 'happy'},
        {'prompt': 'You took the money two times.', 'label': 'unhappy'},
    ],
    chat=false,
    unique_key='ticket_id'
) }}

select
    ticket_id,
    body as prompt
from {{ ref('recent_tickets') }}
