-- The caches of this project's model, in the order of its layers.
select '{{ relama.kv_cache_names() | join(', ') }}' as names
