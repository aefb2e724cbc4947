"""Hugging Face's `qwen3_moe`: Qwen3-30B-A3B and -235B-A22B (`modeling_qwen3_moe.py`)."""

from __future__ import annotations

from relama.architectures import qwen2_moe
from relama.architectures.base import Architecture, Config, check_activation
from relama.architectures.decoder import Decoder
from relama.architectures.experts import counted_experts, experts_of
from relama.architectures.qwen2_moe import is_sparse
from relama.config import ModelConfig, flag, positive
from relama.graph import Graph

DEFAULTS = {
    **qwen2_moe.DEFAULTS,
    "num_key_value_heads": 4,
    "num_experts": 128,
    "num_experts_per_tok": 8,
    "moe_intermediate_size": 768,
}


def build(config: ModelConfig, fields: Config) -> Graph:
    """`Qwen3MoeForCausalLM` (arXiv 2505.09388): a Qwen3 with experts, and one window for all."""
    check_activation(fields, "silu")
    experts = experts_of(fields)
    bias, head_dim = config.attention_bias, config.head_dim
    window = None
    if flag(fields, "use_sliding_window") and fields["sliding_window"]:
        window = positive(fields, "sliding_window")
    decoder = Decoder(config)
    hidden = decoder.embedding()
    for layer in decoder.layers():
        normed = decoder.norm("attention_norm", hidden, "input_layernorm", "attention")
        query, key, value = decoder.projections(normed, bias)
        query = decoder.norm("q_norm", query, "self_attn.q_norm", "attention", head_dim)
        key = decoder.norm("k_norm", key, "self_attn.k_norm", "attention", head_dim)
        attended = decoder.attention(query, key, value, sliding_window=window)
        hidden = decoder.linear(
            "o_proj", attended, "self_attn", config.hidden_size, bias, residual=hidden
        )
        normed = decoder.norm("mlp_norm", hidden, "post_attention_layernorm", "mlp")
        if is_sparse(fields, layer):
            hidden = decoder.mixture(normed, experts, residual=hidden)
        else:
            hidden = decoder.gated_mlp(normed, residual=hidden)
    return decoder.head(hidden)


ARCHITECTURE = Architecture(build, DEFAULTS, qwen2_moe.tensors, counted_experts)
