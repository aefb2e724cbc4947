{# Every vector of an activation holds `length` finite numbers. #}
{% test finite_vector(model, length) %}
select *
from {{ model }}
where not {{ relama.is_finite_vector('vector', length) }}
{% endtest %}
