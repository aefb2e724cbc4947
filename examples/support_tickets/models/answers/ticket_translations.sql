-- The language stands in two places. `stop` ends an answer that goes on to explain itself.
{{ config(
    materialized='relama_complete',
    system='You translate support tickets from English into French.',
    max_tokens=40,
    stop='\n',
    unique_key='ticket_id'
) }}

select
    ticket_id,
    'Translate into French: ' || body as prompt
from {{ ref('recent_tickets') }}
