"""Hugging Face's `deepseek_v2`: DeepSeek-V2 and V2-Lite (`modeling_deepseek_v2.py`)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from relama.architectures import latent_attention
from relama.architectures.base import Architecture, Config, Tensors, check_activation
from relama.architectures.decoder import Decoder
from relama.architectures.experts import Experts, experts_of, stacked_experts
from relama.config import ModelConfig, number, positive
from relama.errors import CheckpointError, UnsupportedError
from relama.graph import Graph

DEFAULTS: dict[str, Any] = {
    "first_k_dense_replace": 0,
    "kv_lora_rank": 512,
    "moe_intermediate_size": 1407,
    "n_group": None,
    "n_routed_experts": 64,
    "n_shared_experts": 2,
    "q_lora_rank": 1536,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "routed_scaling_factor": 1.0,
    "topk_group": None,
    "topk_method": "greedy",
    "v_head_dim": 128,
}


def decoder_fields(fields: Config) -> Config:
    """The config with the heads that attention has."""
    return latent_attention.with_heads({**DEFAULTS, **fields, "rope_interleave": True})


def tensors(fields: Config, stored: Tensors) -> Tensors:
    """The matrices of latent attention as they are read, the experts one below the other."""
    experts = positive(fields, "n_routed_experts")
    return stacked_experts(latent_attention.tensors(fields, stored), experts)


def build(config: ModelConfig, fields: Config) -> Graph:
    """`DeepseekV2ForCausalLM` (arXiv 2405.04434): experts are chosen from the best groups.

    Its `norm_topk_prob` does nothing in transformers.
    """
    experts = experts_of({**fields, "norm_topk_prob": False}, "n_routed_experts")
    routing: dict[str, Any] = {"scaling": number(fields, "routed_scaling_factor")}
    method = fields["topk_method"]
    if method == "group_limited_greedy":
        routing |= groups(fields, experts)
    elif method != "greedy":
        raise UnsupportedError(
            f"config.json: topk_method {method!r} is not supported for deepseek_v2; supported: "
            "greedy, group_limited_greedy."
        )
    return of_latents(config, fields, replace(experts, routing=routing))


def of_latents(config: ModelConfig, fields: Config, experts: Experts) -> Graph:
    """Latent attention in every layer, and experts from `first_k_dense_replace` on."""
    check_activation(fields, "silu")
    latent = latent_attention.latent_attention(fields)
    scaling = latent_attention.attention_scale(config, fields, latent)
    config = latent_attention.with_turning_part(config, latent)
    bias, mlp_bias = config.attention_bias, config.mlp_bias
    dense = fields["first_k_dense_replace"]
    if isinstance(dense, bool) or not isinstance(dense, int) or dense < 0:
        raise CheckpointError(
            f"config.json: first_k_dense_replace must be a number of layers, not {dense!r}."
        )
    shared = experts.intermediate_size * positive(fields, "n_shared_experts")
    decoder = Decoder(config)
    hidden = decoder.embedding()
    for layer in decoder.layers():
        normed = decoder.norm("attention_norm", hidden, "input_layernorm", "attention")
        attended = latent_attention.attend(decoder, normed, latent, bias, scaling)
        hidden = decoder.linear(
            "o_proj", attended, "self_attn", config.hidden_size, bias, residual=hidden
        )
        normed = decoder.norm("mlp_norm", hidden, "post_attention_layernorm", "mlp")
        if layer < dense:
            hidden = decoder.gated_mlp(normed, bias=mlp_bias, residual=hidden)
        else:
            hidden = decoder.gated_mlp(
                normed, bias=mlp_bias, residual=hidden, size=shared, module="shared_experts"
            )
            hidden = decoder.mixture(normed, experts, residual=hidden)
    return decoder.head(hidden)


def groups(fields: Config, experts: Experts) -> dict[str, int]:
    """From which groups of experts a token may choose, as attributes of a `Router`."""
    count, best = positive(fields, "n_group"), positive(fields, "topk_group")
    size = experts.num_experts // count
    if experts.num_experts % count or best > count or experts.num_experts_per_tok > best * size:
        raise CheckpointError(
            f"config.json: n_group ({count}) and topk_group ({best}) must leave "
            f"num_experts_per_tok ({experts.num_experts_per_tok}) of n_routed_experts "
            f"({experts.num_experts}) to choose."
        )
    return {"n_group": count, "topk_group": best}


ARCHITECTURE = Architecture(build, DEFAULTS, tensors, decoder_fields)
