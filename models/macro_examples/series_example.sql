-- The numbers 0 to 3.
select s.number
from {{ relama.series(4, 's', 'number') }}
