"""Hugging Face's `olmo2`: OLMo 2 (`modeling_olmo2.py`)."""

from __future__ import annotations

from relama.architectures.base import Architecture, Config, check_activation
from relama.architectures.decoder import Decoder
from relama.config import ModelConfig
from relama.graph import Graph

DEFAULTS = {"rms_norm_eps": 1e-5}


def build(config: ModelConfig, fields: Config) -> Graph:
    """`Olmo2ForCausalLM` (arXiv 2501.00656): norms behind the blocks, and of Q and K."""
    check_activation(fields, "silu")
    decoder = Decoder(config)
    bias, width = config.attention_bias, config.hidden_size
    hidden = decoder.embedding()
    for _ in decoder.layers():
        query, key, value = decoder.projections(hidden, bias)
        query = decoder.norm("q_norm", query, "self_attn.q_norm", "attention")
        key = decoder.norm("k_norm", key, "self_attn.k_norm", "attention")
        attended = decoder.attention(query, key, value)
        output = decoder.linear("o_proj", attended, "self_attn", width, bias)
        output = decoder.norm(
            "post_attention_norm", output, "post_attention_layernorm", "attention"
        )
        hidden = decoder.residual("attention_residual", output, hidden)
        output = decoder.gated_mlp(hidden)
        output = decoder.norm("post_mlp_norm", output, "post_feedforward_layernorm", "mlp")
        hidden = decoder.residual("mlp_residual", output, hidden)
    return decoder.head(hidden)


ARCHITECTURE = Architecture(build, DEFAULTS)
