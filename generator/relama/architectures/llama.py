"""Hugging Face's `llama`: Llama 2, 3, 3.1 and 3.2, TinyLlama, SmolLM2 (`modeling_llama.py`)."""

from __future__ import annotations

from relama.architectures.base import Architecture, Config, check_activation
from relama.architectures.decoder import Decoder
from relama.config import ModelConfig
from relama.graph import Graph


def build(config: ModelConfig, fields: Config) -> Graph:
    """`LlamaForCausalLM` (arXiv 2302.13971)."""
    check_activation(fields, "silu")
    decoder = Decoder(config)
    hidden = decoder.embedding()
    for _ in decoder.layers():
        normed = decoder.norm("attention_norm", hidden, "input_layernorm", "attention")
        query, key, value = decoder.projections(normed, config.attention_bias)
        attended = decoder.attention(query, key, value)
        hidden = decoder.linear(
            "o_proj", attended, "self_attn", config.hidden_size, config.attention_bias, hidden
        )
        normed = decoder.norm("mlp_norm", hidden, "post_attention_layernorm", "mlp")
        hidden = decoder.gated_mlp(normed, bias=config.mlp_bias, residual=hidden)
    return decoder.head(hidden)


ARCHITECTURE = Architecture(build)
