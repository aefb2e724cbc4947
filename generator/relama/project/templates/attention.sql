<< name >> as (

    {{ relama.attention(
        '<< reads[0] >>',
        'kv_cache',
        '<< reads[1] >>',
        'kv_pages',
        'paged',
        num_heads=<< attributes.num_attention_heads >>,
        num_kv_heads=<< attributes.num_key_value_heads >>,
        head_dim=<< attributes.head_dim >>,
        parallelism=<< parallelism >>,
        single_token=relama.single_token()
<%- if attributes.scaling is not none %>,
        scaling=<< attributes.scaling >>
<%- endif %>
<%- if attributes.softcap is not none %>,
        softcap=<< attributes.softcap >>
<%- endif %>
<%- if attributes.sliding_window is not none %>,
        sliding_window=<< attributes.sliding_window >>
<%- endif %>
    ) | indent(4) }}

)
