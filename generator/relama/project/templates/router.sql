<< name >> as (

    {{ relama.router(
        '<< reads[0] >>',
        num_experts=<< attributes.num_experts >>,
        chosen=<< attributes.num_experts_per_tok >>
<%- if attributes.norm_topk_prob %>,
        norm_topk_prob=true
<%- endif %>
<%- if attributes.scoring_func != 'softmax' %>,
        scoring_func='<< attributes.scoring_func >>'
<%- endif %>
<%- if weight %>,
        correction=<< weight >>
<%- endif %>
<%- if attributes.topk_group is not none %>,
        n_group=<< attributes.n_group >>,
        topk_group=<< attributes.topk_group >>,
        group_score_of=<< attributes.group_score_of >>
<%- endif %>
<%- if attributes.scaling != 1 %>,
        scaling=<< attributes.scaling >>
<%- endif %>
    ) | indent(4) }}

)
