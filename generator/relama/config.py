"""Hyperparameters of a decoder, read from Hugging Face's `config.json`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from relama.errors import CheckpointError, UnsupportedError

ROPE_TYPES = ("default", "linear", "llama3")

#: The names of `silu` in transformers' `ACT2FN`.
SILU = ("silu", "swish")

#: Fields that change what transformers' `LlamaModel` computes, with the values that do not.
NEUTRAL_VALUES: dict[str, tuple[object, ...]] = {
    "is_causal": (True,),
    "per_layer_config": (None, {}),
    "quantization_config": (None, {}),
}


@dataclass(frozen=True)
class RopeParameters:
    """Rotary position embedding (RoFormer, arXiv 2104.09864) and its scaling.

    The fields bear the names of transformers' `rope_parameters`; those of
    `llama3` are used by `_compute_llama3_parameters` in `modeling_rope_utils.py`.
    """

    rope_theta: float = 10000.0
    rope_type: str = "default"
    factor: float = 1.0
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    original_max_position_embeddings: int = 8192


@dataclass(frozen=True)
class ModelConfig:
    """The fields of `LlamaConfig` that the graph needs, under the same names."""

    model_type: str
    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    max_position_embeddings: int
    rms_norm_eps: float
    rope: RopeParameters
    tie_word_embeddings: bool
    attention_bias: bool
    mlp_bias: bool


def model_config(config: Mapping[str, Any]) -> ModelConfig:
    """Reads the fields of `LlamaConfig` from `config.json`.

    Both dialects are understood: `rope_theta` with `rope_scaling`, and
    transformers 5's `rope_parameters`. What `LlamaModel` passes over is passed
    over here.

    Raises:
        CheckpointError: a field is missing or out of range.
        UnsupportedError: an activation, a `rope_type` or another setting that
            relama does not compute.
    """
    for key, neutral in NEUTRAL_VALUES.items():
        if key in config and config[key] not in neutral:
            raise UnsupportedError(
                f"config.json: {key} is {_shown(config[key])}, which changes what the model "
                f"computes and is not supported; supported: {_shown(neutral[-1])} or no {key}."
            )
    heads = _positive(config, "num_attention_heads")
    hidden_size = _positive(config, "hidden_size")
    kv_heads = _positive(config, "num_key_value_heads", default=heads)
    if heads % kv_heads:
        raise CheckpointError(
            f"config.json: num_attention_heads ({heads}) must be a multiple of "
            f"num_key_value_heads ({kv_heads})."
        )
    if config.get("head_dim") is None and hidden_size % heads:
        raise CheckpointError(
            f"config.json: hidden_size ({hidden_size}) must be a multiple of "
            f"num_attention_heads ({heads}) where head_dim is not given."
        )
    head_dim = _positive(config, "head_dim", default=hidden_size // heads)
    if head_dim % 2:
        raise CheckpointError(
            f"config.json: head_dim ({head_dim}) must be even: rotary embedding turns pairs."
        )
    activation = config.get("hidden_act", "silu")
    if activation not in SILU:
        raise UnsupportedError(
            f"config.json: hidden_act '{activation}' is not supported; "
            f"supported: {', '.join(SILU)}."
        )
    return ModelConfig(
        model_type=str(config.get("model_type")),
        vocab_size=_positive(config, "vocab_size"),
        hidden_size=hidden_size,
        intermediate_size=_positive(config, "intermediate_size"),
        num_hidden_layers=_positive(config, "num_hidden_layers"),
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        head_dim=head_dim,
        max_position_embeddings=_positive(config, "max_position_embeddings", default=2048),
        rms_norm_eps=_number(config, "rms_norm_eps", default=1e-6),
        rope=_rope_parameters(config),
        tie_word_embeddings=_flag(config, "tie_word_embeddings"),
        attention_bias=_flag(config, "attention_bias"),
        mlp_bias=_flag(config, "mlp_bias"),
    )


def _rope_parameters(config: Mapping[str, Any]) -> RopeParameters:
    """RoPE's parameters from either dialect of `config.json`.

    As `convert_rope_params_to_dict` and `standardize_rope_params` have it in
    transformers' `modeling_rope_utils.py`: `rope_scaling` goes before
    `rope_parameters`, what is in it before what is beside it, and the other way
    round for `original_max_position_embeddings`.
    """
    dialect = "rope_scaling" if config.get("rope_scaling") else "rope_parameters"
    scaling = config.get(dialect) or {}
    if not isinstance(scaling, Mapping):
        raise CheckpointError(f"config.json: {dialect} must be an object, not {scaling!r}.")
    layer_types = config.get("layer_types")
    for key in scaling:
        if isinstance(layer_types, list) and key in layer_types:
            raise UnsupportedError(
                f"config.json: {dialect} has parameters of its own for layers of type '{key}', "
                "which is not supported; supported: the same for all layers."
            )
    # Older files say "type" where newer ones say "rope_type".
    rope_type = scaling.get("rope_type", scaling.get("type", "default"))
    if rope_type not in ROPE_TYPES:
        raise UnsupportedError(
            f"config.json: {dialect} of type '{rope_type}' is not supported; "
            f"supported: {', '.join(ROPE_TYPES)}."
        )
    theta = _number(scaling, "rope_theta", default=_number(config, "rope_theta", default=10000.0))
    if rope_type == "default":
        # Without scaling, `LlamaRotaryEmbedding` turns whole heads whatever the factor is.
        return RopeParameters(rope_theta=theta)
    partial = scaling.get("partial_rotary_factor", config.get("partial_rotary_factor") or 1.0)
    if partial != 1.0:
        raise UnsupportedError(
            f"config.json: partial_rotary_factor {partial} with {dialect} of type '{rope_type}' "
            "is not supported; supported: 1.0."
        )
    factor = _number(scaling, "factor")
    if rope_type == "linear":
        return RopeParameters(rope_theta=theta, rope_type="linear", factor=factor)
    low, high = _number(scaling, "low_freq_factor"), _number(scaling, "high_freq_factor")
    if high <= low:
        raise CheckpointError(
            f"config.json: high_freq_factor ({high}) must be above low_freq_factor ({low})."
        )
    original = "original_max_position_embeddings"
    return RopeParameters(
        rope_theta=theta,
        rope_type="llama3",
        factor=factor,
        low_freq_factor=low,
        high_freq_factor=high,
        original_max_position_embeddings=_positive(
            config if config.get(original) is not None else scaling,
            original,
            default=_positive(config, "max_position_embeddings", default=2048),
        ),
    )


def _shown(value: object) -> str:
    """A value as JSON has it, cut where it is long."""
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:60]}..."


def _flag(config: Mapping[str, Any], key: str) -> bool:
    value = config.get(key)
    if value is not None and not isinstance(value, bool):
        raise CheckpointError(f"config.json: {key} must be true or false, not {value!r}.")
    return bool(value)


def _positive(config: Mapping[str, Any], key: str, default: int | None = None) -> int:
    value = config.get(key)
    value = default if value is None else value
    if value is None:
        raise CheckpointError(f"config.json: the field '{key}' is missing.")
    if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
        raise CheckpointError(f"config.json: {key} must be a positive whole number, not {value!r}.")
    return value


def _number(config: Mapping[str, Any], key: str, default: float | None = None) -> float:
    value = config.get(key)
    value = default if value is None else value
    if value is None:
        raise CheckpointError(f"config.json: the field '{key}' is missing.")
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e12:
        raise CheckpointError(f"config.json: {key} must be a positive number, not {value!r}.")
    return float(value)
