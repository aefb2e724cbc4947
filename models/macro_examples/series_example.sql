-- The numbers 0 to 3.
select s.number
from {{ relama._series(4, 's', 'number') }}
