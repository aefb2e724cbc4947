-- What tickets_redacted takes out. The patterns keep a small model to what looks like a name, an
-- e-mail address or a phone number; most examples have none, so that it does not look for some.
{{ config(
    materialized='relama_extract',
    instructions='List the names, e-mail addresses and phone numbers that the text has.',
    fields={
        'names': {
            'type': 'array',
            'items': {'type': 'string', 'pattern': '^\\p{Lu}[\\p{L}-]{1,12}( \\p{Lu}[\\p{L}-]{1,12})?$'},
            'maxItems': 2,
        },
        'emails': {
            'type': 'array',
            'items': {'type': 'string', 'pattern': '^[A-Za-z0-9._+-]{1,20}@[a-z0-9.-]{1,20}$'},
            'maxItems': 2,
        },
        'phones': {
            'type': 'array',
            'items': {'type': 'string', 'pattern': '^[0-9+][0-9 -]{4,14}[0-9]$'},
            'maxItems': 2,
        },
    },
    examples=[
        {
            'prompt': 'I cannot print.',
            'completion': '{"names": [], "emails": [], "phones": []}',
        },
        {
            'prompt': 'The map is blank. Anna Berg, anna.berg@example.net',
            'completion': '{"names": ["Anna Berg"], "emails": ["anna.berg@example.net"], "phones": []}',
        },
        {
            'prompt': 'Thank you, I love it.',
            'completion': '{"names": [], "emails": [], "phones": []}',
        },
        {
            'prompt': 'Please call me, my number is 555-0182.',
            'completion': '{"names": [], "emails": [], "phones": ["555-0182"]}',
        },
        {
            'prompt': 'How can I get a refund?',
            'completion': '{"names": [], "emails": [], "phones": []}',
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
