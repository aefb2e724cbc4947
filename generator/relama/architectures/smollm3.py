"""Hugging Face's `smollm3`: SmolLM3 (`modeling_smollm3.py`)."""

from __future__ import annotations

from relama.architectures.base import Architecture, Config, check_activation, layer_types
from relama.architectures.decoder import ANGLES, Decoder
from relama.config import ModelConfig, flag, positive
from relama.errors import CheckpointError
from relama.graph import Graph

DEFAULTS = {
    "num_key_value_heads": 4,
    "max_position_embeddings": 32768,
    "rope_theta": 2000000.0,
    "no_rope_layer_interval": 4,
    "use_sliding_window": False,
    "sliding_window": None,
    "tie_word_embeddings": True,
}


def build(config: ModelConfig, fields: Config) -> Graph:
    """`SmolLM3ForCausalLM`: a Llama that turns nothing in every fourth layer (arXiv 2501.18795)."""
    check_activation(fields, "silu")
    turning = _turning(config, fields)
    has_windows = flag(fields, "use_sliding_window") and fields["sliding_window"]
    types = layer_types(config, fields, lambda layer: has_windows and not turning[layer])
    decoder = Decoder(config)
    hidden = decoder.embedding()
    for layer in decoder.layers():
        is_sliding = has_windows and types[layer] == "sliding_attention"
        normed = decoder.norm("attention_norm", hidden, "input_layernorm", "attention")
        query, key, value = decoder.projections(normed, config.attention_bias)
        attended = decoder.attention(
            query,
            key,
            value,
            angles=ANGLES if turning[layer] else None,
            sliding_window=positive(fields, "sliding_window") if is_sliding else None,
        )
        hidden = decoder.linear(
            "o_proj", attended, "self_attn", config.hidden_size, config.attention_bias, hidden
        )
        normed = decoder.norm("mlp_norm", hidden, "post_attention_layernorm", "mlp")
        hidden = decoder.gated_mlp(normed, bias=config.mlp_bias, residual=hidden)
    return decoder.head(hidden)


def _turning(config: ModelConfig, fields: Config) -> list[bool]:
    """Which layers have rotary embedding: `no_rope_layers` has a 1 for each of them."""
    given = fields.get("no_rope_layers")
    if given is None:
        interval = positive(fields, "no_rope_layer_interval")
        return [(layer + 1) % interval != 0 for layer in range(config.num_hidden_layers)]
    if not isinstance(given, list) or len(given) != config.num_hidden_layers:
        raise CheckpointError(
            f"config.json: no_rope_layers must be a list of {config.num_hidden_layers}, one for "
            "each layer."
        )
    return [bool(layer) for layer in given]


ARCHITECTURE = Architecture(build, DEFAULTS)
