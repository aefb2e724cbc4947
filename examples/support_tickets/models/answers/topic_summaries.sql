-- One answer for each topic, from all of its tickets.
{{ config(
    materialized='relama_aggregate',
    group_by=['topic'],
    order_by='ticket_id',
    system='You summarise support tickets.',
    instructions='Summarise in one sentence what these customers write about.',
    max_tokens=40
) }}

select
    topics.label as topic,
    tickets.ticket_id,
    tickets.body as prompt
from {{ ref('tickets') }} as tickets
inner join {{ ref('ticket_topics') }} as topics
    on tickets.ticket_id = topics.ticket_id
