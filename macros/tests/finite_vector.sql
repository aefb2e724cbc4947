{#
    Every vector of an activation holds `length` finite numbers.

    model   relation with a column vector
    length  number of elements
#}
{% test finite_vector(model, length) %}
select *
from (
    select
        *,
        {{ relama._is_finite_vector('vector', length) | indent(8) }} as is_finite
    from {{ model }}
) as checked
where not is_finite
{% endtest %}
