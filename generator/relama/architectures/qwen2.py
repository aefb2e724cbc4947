"""Hugging Face's `qwen2`: Qwen2 and Qwen2.5 (`modeling_qwen2.py`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from relama.architectures.base import Architecture, Config, check_activation, layer_types
from relama.architectures.decoder import Decoder
from relama.config import ModelConfig, flag, positive
from relama.graph import Graph

DEFAULTS = {
    "num_key_value_heads": 32,
    "max_position_embeddings": 32768,
    "use_sliding_window": False,
    "sliding_window": 4096,
    "max_window_layers": 28,
}


def build(config: ModelConfig, fields: Config) -> Graph:
    """`Qwen2ForCausalLM` (arXiv 2407.10671): biases of Q, K and V, windows in later layers."""
    check_activation(fields, "silu")
    decoder = Decoder(config)
    windows = sliding_windows(config, fields)
    hidden = decoder.embedding()
    for layer in decoder.layers():
        normed = decoder.norm("attention_norm", hidden, "input_layernorm", "attention")
        query, key, value = decoder.projections(normed, bias=True)
        attended = decoder.attention(query, key, value, sliding_window=windows[layer])
        hidden = decoder.linear(
            "o_proj", attended, "self_attn", config.hidden_size, residual=hidden
        )
        normed = decoder.norm("mlp_norm", hidden, "post_attention_layernorm", "mlp")
        hidden = decoder.gated_mlp(normed, residual=hidden)
    return decoder.head(hidden)


def sliding_windows(
    config: ModelConfig, fields: Config, is_sliding: Callable[[int], bool] | None = None
) -> Sequence[int | None]:
    """The window of each layer, with `use_sliding_window`.

    Args:
        is_sliding: which layers have it where the config has no `layer_types`: those from
            `max_window_layers` on, if nothing is given.
    """
    if not flag(fields, "use_sliding_window"):
        return [None] * config.num_hidden_layers
    from_first = is_sliding or (lambda layer: layer >= fields["max_window_layers"])
    types = layer_types(config, fields, from_first)
    window = fields["sliding_window"] and positive(fields, "sliding_window")
    return [window if kind == "sliding_attention" else None for kind in types]


ARCHITECTURE = Architecture(build, DEFAULTS)
