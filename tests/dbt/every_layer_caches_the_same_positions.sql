{{ config(enabled=project_name == 'relama') }}

-- A step appends the same positions to the cache of every layer.
with cached as (
{% for name in relama._kv_cache_names() %}
    select
        '{{ name }}' as cache,
        sequence_id,
        position
    from {{ ref(name) }}
    {%- if not loop.last %}

    union
{% endif -%}
{% endfor %}

)

select
    sequence_id,
    position,
    count(*) as caches
from cached
group by sequence_id, position
having count(*) <> {{ var('relama_num_hidden_layers') }}
