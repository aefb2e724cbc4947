-- The tables of the state.
select '{{ relama._state_tables() | join(' ') }}' as names
