{{ config(materialized='relama_weights') }}

-- The tables of all weights that layers read, made at once where this project is a package of
-- another: a table is written again only when what it is made of changes. Their models say that:

{%- do relama.weight('embedding_weight') %}
{%- do relama.weight('layer_00__attention_norm_weight') %}
{%- do relama.weight('layer_00__qkv_proj_weight') %}
{%- do relama.weight('layer_00__o_proj_weight') %}
{%- do relama.weight('layer_00__mlp_norm_weight') %}
{%- do relama.weight('layer_00__gate_up_proj_weight') %}
{%- do relama.weight('layer_00__down_proj_weight') %}
{%- do relama.weight('layer_01__attention_norm_weight') %}
{%- do relama.weight('layer_01__qkv_proj_weight') %}
{%- do relama.weight('layer_01__o_proj_weight') %}
{%- do relama.weight('layer_01__mlp_norm_weight') %}
{%- do relama.weight('layer_01__gate_up_proj_weight') %}
{%- do relama.weight('layer_01__down_proj_weight') %}
{%- do relama.weight('final_norm_weight') %}
{%- do relama.weight('lm_head_weight') %}
select name from weights
