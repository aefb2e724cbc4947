{{ config(
    materialized='relama_classify',
    labels=['billing', 'bug', 'praise'],
    chat=false,
    unique_key='ticket_id'
) }}

-- Examples say what is asked for. All prompts begin with them, so they are read once.
select
    ticket_id,
    'Ticket: What a great product, thank you very much!
Topic:
praise

Ticket: The save button does not work any more.
Topic:
bug

Ticket: You took the money for my subscription two times.
Topic:
billing

Ticket: Printing a page gives an error.
Topic:
bug

Ticket: I like your service a lot.
Topic:
praise

Ticket: My invoice has a wrong amount, please send a new one.
Topic:
billing

Ticket: The list is empty after I sort it.
Topic:
bug

Ticket: How can I get a refund for last month?
Topic:
billing

Ticket: ' || body || '
Topic:
' as prompt
from {{ ref('tickets') }}
