"""Hugging Face's `granite`: Granite 3 (`modeling_granite.py`)."""

from __future__ import annotations

from relama.architectures.base import Architecture, Config, check_activation
from relama.architectures.decoder import Decoder
from relama.config import ModelConfig, number
from relama.graph import Graph

DEFAULTS = {
    "attention_multiplier": 1.0,
    "embedding_multiplier": 1.0,
    "residual_multiplier": 1.0,
    "logits_scaling": 1.0,
}


def build(config: ModelConfig, fields: Config) -> Graph:
    """`GraniteForCausalLM` (arXiv 2405.04324): a Llama with four multipliers."""
    check_activation(fields, "silu")
    decoder = Decoder(config)
    bias, width = config.attention_bias, config.hidden_size
    scaling, multiplier = (
        number(fields, "attention_multiplier"),
        number(fields, "residual_multiplier"),
    )
    hidden = decoder.embedding(number(fields, "embedding_multiplier"))
    for _ in decoder.layers():
        normed = decoder.norm("attention_norm", hidden, "input_layernorm", "attention")
        query, key, value = decoder.projections(normed, bias)
        attended = decoder.attention(query, key, value, scaling=scaling)
        output = decoder.linear("o_proj", attended, "self_attn", width, bias)
        hidden = decoder.residual("attention_residual", output, hidden, multiplier)
        normed = decoder.norm("mlp_norm", hidden, "post_attention_layernorm", "mlp")
        output = decoder.gated_mlp(normed, bias=config.mlp_bias)
        hidden = decoder.residual("mlp_residual", output, hidden, multiplier)
    return decoder.head(hidden, multiplier=1 / number(fields, "logits_scaling"))


ARCHITECTURE = Architecture(build, DEFAULTS)
