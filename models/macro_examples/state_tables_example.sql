-- The tables of the state.
select '{{ relama.state_tables() | join(' ') }}' as names
