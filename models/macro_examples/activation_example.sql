-- How dbt materialises an activation of this project.
select '{{ relama.activation() }}' as materialized
