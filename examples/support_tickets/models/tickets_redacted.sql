-- The language model only says what to take out; the text is changed here. A span that it made up,
-- which the text does not have as it is, is left out, and so is a single letter.
with spans as (
    select
        ticket_id,
        'name' as kind,
        unnest(names) as span
    from {{ ref('ticket_contacts') }}
    union
    select
        ticket_id,
        'e-mail' as kind,
        unnest(emails) as span
    from {{ ref('ticket_contacts') }}
    union
    select
        ticket_id,
        'phone' as kind,
        unnest(phones) as span
    from {{ ref('ticket_contacts') }}
),

tickets as (
    select
        ticket_id,
        prompt as body
    from {{ ref('ticket_contacts') }}
    -- A ticket without an answer is not redacted, so it must not come through.
    where completion is not null
),

found as (
    -- Longer spans first, for one may be a part of another.
    select
        tickets.ticket_id,
        list({'text': spans.span, 'kind': spans.kind} order by length(spans.span) desc) as spans
    from tickets
    inner join spans
        on
            tickets.ticket_id = spans.ticket_id
            and contains(tickets.body, spans.span)
            and length(spans.span) > 1
    group by tickets.ticket_id
)

select
    tickets.ticket_id,
    list_reduce(
        [{'text': tickets.body, 'kind': ''}] || coalesce(found.spans, []),
        lambda done, span: {
            'text': replace(done['text'], span['text'], '[' || span['kind'] || ']'), 'kind': ''
        }
    ).text as body,
    len(coalesce(found.spans, [])) as spans_found
from tickets
left join found on tickets.ticket_id = found.ticket_id
