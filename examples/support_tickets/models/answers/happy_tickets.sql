-- The threshold is where the probabilities of known tickets part: keep='all' shows them.
{{ config(
    materialized='relama_filter',
    predicate='the customer is happy',
    threshold=0.3,
    examples=[
        {'prompt': 'The search shows no results.', 'label': false},
        {'prompt': 'I like your service a lot.', 'label': true},
        {'prompt': 'You took the money two times.', 'label': false},
        {'prompt': 'The new search is great, thank you!', 'label': true},
        {'prompt': 'I cannot print.', 'label': false},
    ],
    chat=false,
    unique_key='ticket_id'
) }}

select
    ticket_id,
    body as prompt
from {{ ref('recent_tickets') }}
