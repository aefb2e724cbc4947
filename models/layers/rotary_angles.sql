{{ config(materialized=relama.activation()) }}

-- Cosine and sine of the rotation angles of each position of this step.
-- angle = position * inverse_frequency
-- inverse_frequency: [4] -> cosine, sine: [4]
with step_input as (

    select * from {{ relama.input('step_input') }}

),

inverse_frequencies as (

    select * from {{ ref('inverse_frequencies').render() }}

),

rotary_angles as (

    {{ relama.rotary_angles('step_input', 'inverse_frequencies') | indent(4) }}

)

select * from rotary_angles
