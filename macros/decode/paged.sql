{#
    Where the pages of a sequence end: the first position that is in no page. A
    select of (sequence_id, position).

    sequences  relation with a column sequence_id
    pages      relation (sequence_id, first_position, keys), see `kv_page`
#}
{% macro paged(sequences, pages) -%}
select
    s.sequence_id,
    coalesce(max(p.first_position + len(p.keys)), 0) as position
from (select distinct sequence_id from {{ sequences }}) as s
left join {{ pages }} as p on s.sequence_id = p.sequence_id
group by s.sequence_id
{%- endmacro %}
