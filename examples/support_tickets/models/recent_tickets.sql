-- The tickets of the last days. Models that read them ask fewer questions: the example is over in
-- minutes. For all tickets, let the model refer to `tickets`.
select *
from {{ ref('tickets') }}
where opened_on >= '2026-10-13'
