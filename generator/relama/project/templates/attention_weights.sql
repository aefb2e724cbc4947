<< name >> as (

    {{ relama.attention_weights(
        '<< reads[0] >>',
        'kv_cache',
        '<< reads[1] >>',
        num_heads=<< attributes.num_attention_heads >>,
        num_kv_heads=<< attributes.num_key_value_heads >>,
        head_dim=<< attributes.head_dim >>
<%- if attributes.scaling is not none %>,
        scaling=<< attributes.scaling >>
<%- endif %>
    ) | indent(4) }}

)
