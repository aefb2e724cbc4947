<% if not packaged %>{{ config(materialized=relama.activation()) }}

<% endif %>-- Cosine and sine of the rotation angles of each position of this step.
-- angle = position * inverse_frequency
<%- if long_factors %>
-- inverse_frequency = rope_theta ** (-2 i / width) / factor[i], of a sequence of more than
-- << config.original_context >> tokens with the long factors, at all its positions, of another with the short
<%- endif %>
-- inverse_frequency: [<< config.head_dim // 2 >>] -> cosine, sine: [<< config.head_dim // 2 >>]
with step_input as (

    select * from {{ relama.input('step_input') }}

),

inverse_frequencies as (

    select * from {{ << inverse_frequencies >> }}

),

rotary_angles as (
<% if attention_factor == 1 and not long_factors %>
    {{ relama.rotary_angles('step_input', 'inverse_frequencies') | indent(4) }}
<%- else %>
    {{ relama.rotary_angles(
        'step_input',
        'inverse_frequencies',
        attention_factor=<< attention_factor >>
<%- if long_factors %>,
        long_factors=true
<%- endif %>
    ) | indent(4) }}
<%- endif %>

)

select * from rotary_angles
