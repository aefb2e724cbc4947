last_position as (

    {{ relama.last_position('<< reads[0] >>') | indent(4) }}

),

<< name >> as (

    {{ relama.logits(
        'last_position',
        << weight >>,
        storage='<< storage >>',
<%- if attributes.multiplier != 1 %>
        multiplier=<< attributes.multiplier >>,
<%- endif %>
<%- if attributes.softcap is not none %>
        softcap=<< attributes.softcap >>,
<%- endif %>
        single_token=relama.single_token()
    ) | indent(4) }}

)
