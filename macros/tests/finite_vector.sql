{# Every vector of an activation holds `length` finite numbers. #}
{% test finite_vector(model, length) %}
select *
from (
    select
        *,
        {{ relama.is_finite_vector('vector', length) | indent(8) }} as is_finite
    from {{ model }}
) as checked
where not is_finite
{% endtest %}
