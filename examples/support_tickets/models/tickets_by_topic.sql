select
    topics.label as topic,
    count(*) as ticket_count,
    round(avg(topics.probability), 2) as average_probability,
    min(tickets.opened_on) as first_opened_on
from {{ ref('ticket_topics') }} as topics
inner join {{ ref('tickets') }} as tickets
    on topics.ticket_id = tickets.ticket_id
group by topics.label
