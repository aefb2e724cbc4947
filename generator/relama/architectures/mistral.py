"""Hugging Face's `mistral`: Mistral 7B, Ministral (`modeling_mistral.py`)."""

from __future__ import annotations

from relama.architectures.base import Architecture, Config, check_activation
from relama.architectures.decoder import Decoder
from relama.config import ModelConfig, positive
from relama.graph import Graph

DEFAULTS = {
    "num_key_value_heads": 8,
    "sliding_window": 4096,
    "max_position_embeddings": 131072,
}


def build(config: ModelConfig, fields: Config) -> Graph:
    """`MistralForCausalLM` (arXiv 2310.06825): a Llama that attends to the last positions only."""
    check_activation(fields, "silu")
    window = fields["sliding_window"] and positive(fields, "sliding_window")
    decoder = Decoder(config)
    hidden = decoder.embedding()
    for _ in decoder.layers():
        normed = decoder.norm("attention_norm", hidden, "input_layernorm", "attention")
        attended = decoder.attention(*decoder.projections(normed), sliding_window=window)
        hidden = decoder.linear(
            "o_proj", attended, "self_attn", config.hidden_size, residual=hidden
        )
        normed = decoder.norm("mlp_norm", hidden, "post_attention_layernorm", "mlp")
        hidden = decoder.gated_mlp(normed, residual=hidden)
    return decoder.head(hidden)


ARCHITECTURE = Architecture(build, DEFAULTS)
