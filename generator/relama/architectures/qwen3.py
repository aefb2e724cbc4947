"""Hugging Face's `qwen3` (`modeling_qwen3.py`)."""

from __future__ import annotations

from relama.architectures import qwen2
from relama.architectures.base import Architecture, Config, check_activation
from relama.architectures.decoder import Decoder
from relama.config import ModelConfig
from relama.graph import Graph

DEFAULTS = {**qwen2.DEFAULTS, "head_dim": 128}


def build(config: ModelConfig, fields: Config) -> Graph:
    """`Qwen3ForCausalLM` (arXiv 2505.09388): each query and key head is normalised."""
    check_activation(fields, "silu")
    decoder = Decoder(config)
    windows = qwen2.sliding_windows(config, fields)
    bias, head_dim = config.attention_bias, config.head_dim
    hidden = decoder.embedding()
    for layer in decoder.layers():
        normed = decoder.norm("attention_norm", hidden, "input_layernorm", "attention")
        query, key, value = decoder.projections(normed, bias)
        query = decoder.norm("q_norm", query, "self_attn.q_norm", "attention", head_dim)
        key = decoder.norm("k_norm", key, "self_attn.k_norm", "attention", head_dim)
        attended = decoder.attention(query, key, value, sliding_window=windows[layer])
        hidden = decoder.linear(
            "o_proj", attended, "self_attn", config.hidden_size, bias, residual=hidden
        )
        normed = decoder.norm("mlp_norm", hidden, "post_attention_layernorm", "mlp")
        hidden = decoder.gated_mlp(normed, residual=hidden)
    return decoder.head(hidden)


ARCHITECTURE = Architecture(build, DEFAULTS)
