{#
    The attention weights of a query sum to 1.

    model      relation with a column vector
    tolerance  how far a sum may be off
#}
{% test sums_to_one(model, tolerance=1e-4) %}
select *
from (
    select
        *,
        {{ relama._vector_sum('vector') }} as total
    from {{ model }}
) as summed
where total is null or not abs(total - 1) <= {{ tolerance }}
{% endtest %}
