{{ config(
    materialized='relama_complete',
    system='You summarise support tickets.',
    max_tokens=30,
    batch_size=20,
    unique_key='ticket_id'
) }}

select
    ticket_id,
    'Summarise in one sentence: ' || body as prompt
from {{ ref('tickets') }}
