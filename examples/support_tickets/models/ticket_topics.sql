{{ config(
    materialized='relama_classify',
    labels=['billing', 'bug', 'praise'],
    chat=false,
    unique_key='ticket_id'
) }}

-- Three examples say what is asked for. All prompts begin with them, so they are read once.
select
    ticket_id,
    'Ticket: You took the money for my subscription two times.
Topic:
billing

Ticket: The save button does not work any more, it shows an error.
Topic:
bug

Ticket: What a great product, thank you very much!
Topic:
praise

Ticket: ' || body || '
Topic:
' as prompt
from {{ ref('tickets') }}
