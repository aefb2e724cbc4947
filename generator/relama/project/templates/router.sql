<< name >> as (

    {{ relama.router('<< reads[0] >>', num_experts=<< attributes.num_experts >>, chosen=<< attributes.num_experts_per_tok >><% if attributes.norm_topk_prob %>, norm_topk_prob=true<% endif %>) | indent(4) }}

)
