"""Hugging Face's `olmo3`: OLMo 3 (`modeling_olmo3.py`)."""

from __future__ import annotations

from relama.architectures.base import Architecture, Config, check_activation, layer_types
from relama.architectures.decoder import ANGLES, LOCAL_ANGLES, Decoder
from relama.config import ModelConfig, RopeParameters, positive, rope_parameters
from relama.errors import UnsupportedError
from relama.graph import Graph

DEFAULTS = {"rms_norm_eps": 1e-5, "rope_theta": 500000.0, "sliding_window": 4096}


def build(config: ModelConfig, fields: Config) -> Graph:
    """`Olmo3ForCausalLM`: OLMo 2 with a window in three of four layers, which YaRN leaves alone."""
    check_activation(fields, "silu")
    types = layer_types(config, fields, lambda layer: (layer + 1) % 4 != 0)
    window = positive(fields, "sliding_window")
    decoder = Decoder(config)
    decoder.add_angles(LOCAL_ANGLES, _local_rope(fields))
    bias, width = config.attention_bias, config.hidden_size
    hidden = decoder.embedding()
    for layer in decoder.layers():
        is_local = types[layer] == "sliding_attention"
        query, key, value = decoder.projections(hidden, bias)
        query = decoder.norm("q_norm", query, "self_attn.q_norm", "attention")
        key = decoder.norm("k_norm", key, "self_attn.k_norm", "attention")
        attended = decoder.attention(
            query,
            key,
            value,
            angles=LOCAL_ANGLES if is_local else ANGLES,
            sliding_window=window if is_local else None,
        )
        output = decoder.linear("o_proj", attended, "self_attn", width, bias)
        output = decoder.norm(
            "post_attention_norm", output, "post_attention_layernorm", "attention"
        )
        hidden = decoder.residual("attention_residual", output, hidden)
        output = decoder.gated_mlp(hidden)
        output = decoder.norm("post_mlp_norm", output, "post_feedforward_layernorm", "mlp")
        hidden = decoder.residual("mlp_residual", output, hidden)
    return decoder.head(hidden)


def _local_rope(fields: Config) -> RopeParameters:
    """The rotary embedding of layers with a window, as `Olmo3Config` completes it.

    `rope_scaling`, and `rope_theta` outside `rope_parameters`, are those of the other layers.

    Raises:
        UnsupportedError: `rope_parameters` is not by layer type.
    """
    by_type = fields.get("rope_parameters") or {}
    if "rope_type" in by_type or "rope_theta" in by_type:
        raise UnsupportedError(
            "config.json: rope_parameters for all layers, which transformers passes over in olmo3, "
            "is not supported; supported: full_attention and sliding_attention in it."
        )
    beside = {"rope_scaling": None, "rope_theta": DEFAULTS["rope_theta"]}
    return rope_parameters(
        {**fields, **beside, "rope_parameters": by_type.get("sliding_attention")}
    )


ARCHITECTURE = Architecture(build, DEFAULTS, rope_of="full_attention")
