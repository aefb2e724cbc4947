last_position as (

    {{ relama.last_position('<< reads[0] >>') | indent(4) }}

),

<< name >> as (

    {{ relama.logits(
        'last_position',
        << weight >>,
        storage='<< storage >>',
        single_token=relama.single_token()
    ) | indent(4) }}

)
