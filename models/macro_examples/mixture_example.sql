-- y = residual + sum over chosen experts of weight * x[expert]
with experts as (

    select * from {{ ref('example_experts') }}

),

residual as (

    select * from {{ ref('example_residual') }}

),

mixture as (

    {{ relama.mixture('experts', 'residual') | indent(4) }}

)

select * from mixture
