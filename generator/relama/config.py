"""Hyperparameters of a decoder, read from Hugging Face's `config.json`."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from relama.errors import CheckpointError, UnsupportedError

ROPE_TYPES = ("default", "linear", "dynamic", "llama3", "yarn", "longrope")

#: Fields that change what transformers' `LlamaModel` computes, with the values that do not.
NEUTRAL_VALUES: dict[str, tuple[object, ...]] = {
    "is_causal": (True,),
    "per_layer_config": (None, {}),
    "use_bidirectional_attention": (None, False),
}


@dataclass(frozen=True)
class RopeParameters:
    """Rotary position embedding (RoFormer, arXiv 2104.09864) and its scaling.

    The fields bear the names of transformers' `rope_parameters`, and are used as in its
    `modeling_rope_utils.py`. `attention_factor`, by which cos and sin are multiplied, is
    computed where the config leaves it out. Without `long_factor`, no sequence is so long that
    `longrope` changes from its short factors to those.
    """

    rope_theta: float = 10000.0
    rope_type: str = "default"
    factor: float = 1.0
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    original_max_position_embeddings: int = 8192
    partial_rotary_factor: float = 1.0
    attention_factor: float = 1.0
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    truncate: bool = True
    short_factor: tuple[float, ...] = ()
    long_factor: tuple[float, ...] = ()


@dataclass(frozen=True)
class ModelConfig:
    """What configs of all families have, under the names of `LlamaConfig`.

    `rope` is that of the layers that attend to all positions, if those differ.
    """

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

    @property
    def original_context(self) -> int | None:
        """How long a sequence may be to be turned by the short factors of `longrope`.

        A longer one is turned by the long ones, at all its positions. None where there is no such
        difference.
        """
        return self.rope.original_max_position_embeddings if self.rope.long_factor else None


def model_config(
    config: Mapping[str, Any], rope_of: str | None = None, partial_rotary: bool = False
) -> ModelConfig:
    """Reads what all families have from `config.json`.

    Both dialects are understood: `rope_theta` with `rope_scaling`, and
    transformers 5's `rope_parameters`. What transformers passes over is passed
    over here.

    Args:
        rope_of: the type of layers whose rotary embedding is read, where types differ.
        partial_rotary: whether the family turns the front of a head alone, if the config says so.

    Raises:
        CheckpointError: a field is missing or out of range.
        UnsupportedError: a `rope_type` or another setting that relama does not compute.
    """
    for key, neutral in NEUTRAL_VALUES.items():
        if key in config and config[key] not in neutral:
            raise UnsupportedError(
                f"config.json: {key} is {_shown(config[key])}, which changes what the model "
                f"computes and is not supported; supported: {_shown(neutral[-1])} or no {key}."
            )
    heads = positive(config, "num_attention_heads")
    hidden_size = positive(config, "hidden_size")
    kv_heads = positive(config, "num_key_value_heads", default=heads)
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
    head_dim = positive(config, "head_dim", default=hidden_size // heads)
    if head_dim % 2:
        raise CheckpointError(
            f"config.json: head_dim ({head_dim}) must be even: rotary embedding turns pairs."
        )
    rope = rope_parameters(config, rope_of)
    if not partial_rotary:
        rope = _of_whole_heads(rope)
    return ModelConfig(
        model_type=str(config.get("model_type")),
        vocab_size=positive(config, "vocab_size"),
        hidden_size=hidden_size,
        intermediate_size=positive(config, "intermediate_size"),
        num_hidden_layers=positive(config, "num_hidden_layers"),
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        head_dim=head_dim,
        max_position_embeddings=positive(config, "max_position_embeddings", default=2048),
        rms_norm_eps=number(config, "rms_norm_eps", default=1e-6),
        rope=rope,
        tie_word_embeddings=flag(config, "tie_word_embeddings"),
        attention_bias=flag(config, "attention_bias"),
        mlp_bias=flag(config, "mlp_bias"),
    )


def partial_rotary_factor(width: int, head_dim: int) -> float:
    """The factor of which `int(head_dim * factor)` elements of a head, `width`, are turned."""
    factor = width / head_dim
    return math.nextafter(factor, 1.0) if int(head_dim * factor) < width else factor


def config_warnings(config: Mapping[str, Any]) -> list[str]:
    """Sentences of what is left out of a config that is supported."""
    scaling = config.get("rope_scaling") or config.get("rope_parameters") or {}
    if scaling.get("rope_type", scaling.get("type")) != "dynamic":
        return []
    context = positive(config, "max_position_embeddings", default=2048)
    return [
        f"The rotary embedding is dynamic: up to {context} positions are computed, as without "
        "scaling; past them transformers' answers depend on how much was read at once."
    ]


def rope_parameters(config: Mapping[str, Any], layer_type: str | None = None) -> RopeParameters:
    """RoPE's parameters from either dialect of `config.json`.

    As `convert_rope_params_to_dict` and `standardize_rope_params` have it in
    transformers' `modeling_rope_utils.py`: `rope_scaling` goes before
    `rope_parameters`, what is in it before what is beside it, and the other way
    round for `original_max_position_embeddings`.

    Args:
        layer_type: of the layers that they are for, in a config with several kinds; without it,
            a config that has other parameters for some layers is refused.
    """
    dialect = "rope_scaling" if config.get("rope_scaling") else "rope_parameters"
    scaling = config.get(dialect) or {}
    if not isinstance(scaling, Mapping):
        raise CheckpointError(f"config.json: {dialect} must be an object, not {scaling!r}.")
    layer_types = config.get("layer_types")
    of_layers = [key for key in scaling if isinstance(layer_types, list) and key in layer_types]
    if layer_type in scaling:
        scaling = scaling[layer_type]
    elif of_layers:
        raise UnsupportedError(
            f"config.json: {dialect} has parameters of its own for layers of type "
            f"'{of_layers[0]}', which is not supported; supported: the same for all layers."
        )
    # Older files say "type" where newer ones say "rope_type".
    rope_type = scaling.get("rope_type", scaling.get("type", "default"))
    if rope_type not in ROPE_TYPES:
        raise UnsupportedError(
            f"config.json: {dialect} of type '{rope_type}' is not supported; "
            f"supported: {', '.join(ROPE_TYPES)}."
        )
    theta = number(scaling, "rope_theta", default=number(config, "rope_theta", default=10000.0))
    partial = scaling.get("partial_rotary_factor", config.get("partial_rotary_factor") or 1.0)
    if not isinstance(partial, int | float) or not 0 < partial <= 1:
        raise CheckpointError(
            f"config.json: partial_rotary_factor must be above 0 and at most 1, not {partial!r}."
        )
    common = RopeParameters(
        rope_theta=theta, rope_type=rope_type, partial_rotary_factor=float(partial)
    )
    if rope_type == "default":
        return common
    if rope_type == "dynamic":  # Scales nothing within the context, and relama goes no further.
        number(scaling, "factor")
        return replace(common, rope_type="default")
    if rope_type == "linear":
        return replace(common, factor=number(scaling, "factor"))
    key = "original_max_position_embeddings"
    context = positive(config, "max_position_embeddings", default=2048)
    original = positive(config if config.get(key) is not None else scaling, key, default=context)
    common = replace(common, original_max_position_embeddings=original)
    if rope_type == "llama3":
        low, high = number(scaling, "low_freq_factor"), number(scaling, "high_freq_factor")
        if high <= low:
            raise CheckpointError(
                f"config.json: high_freq_factor ({high}) must be above low_freq_factor ({low})."
            )
        return replace(
            common, factor=number(scaling, "factor"), low_freq_factor=low, high_freq_factor=high
        )
    factor = number(scaling, "factor", default=context / original)
    if rope_type == "yarn":
        return _yarn(scaling, replace(common, factor=factor))
    return _longrope(scaling, replace(common, factor=factor), config)


def _of_whole_heads(rope: RopeParameters) -> RopeParameters:
    """Without scaling, most families turn whole heads whatever `partial_rotary_factor` is."""
    if rope.rope_type != "default" and rope.partial_rotary_factor != 1:
        raise UnsupportedError(
            f"config.json: partial_rotary_factor {rope.partial_rotary_factor} with rotary "
            f"embedding of type '{rope.rope_type}' is not supported; supported: 1.0."
        )
    return replace(rope, partial_rotary_factor=1.0)


def _yarn(scaling: Mapping[str, Any], rope: RopeParameters) -> RopeParameters:
    """YaRN (arXiv 2309.00071); DeepSeek's `mscale` goes into the attention factor."""
    mscales = scaling.get("mscale"), scaling.get("mscale_all_dim")
    given = scaling.get("attention_factor")
    if given is not None:
        attention_factor = number(scaling, "attention_factor")
    elif all(mscales):
        above, below = (1 + 0.1 * float(m or 0) * _log(rope.factor) for m in mscales)
        attention_factor = above / below
    else:
        attention_factor = 1 + 0.1 * _log(rope.factor)
    return replace(
        rope,
        attention_factor=attention_factor,
        beta_fast=number(scaling, "beta_fast", default=32.0),
        beta_slow=number(scaling, "beta_slow", default=1.0),
        truncate=bool(scaling.get("truncate", True)),
    )


def _longrope(
    scaling: Mapping[str, Any], rope: RopeParameters, config: Mapping[str, Any]
) -> RopeParameters:
    """LongRoPE (arXiv 2402.13753), whose long factors no context up to the original one needs."""
    head_dim = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    pairs = int(head_dim * rope.partial_rotary_factor) // 2
    factors: dict[str, Any] = {}
    for key in ("short_factor", "long_factor"):
        given = scaling.get(key)
        if (
            not isinstance(given, list)
            or len(given) != pairs
            or not all(isinstance(f, int | float) and f > 0 for f in given)
        ):
            raise CheckpointError(
                f"config.json: {key} of longrope must be {pairs} positive numbers."
            )
        factors[key] = tuple(map(float, given))
    context = positive(config, "max_position_embeddings", default=2048)
    if context <= rope.original_max_position_embeddings:
        del factors["long_factor"]
    log = _log(rope.factor) / math.log(rope.original_max_position_embeddings)
    return replace(
        rope,
        attention_factor=number(scaling, "attention_factor", default=math.sqrt(1 + log)),
        **factors,
    )


def _log(factor: float) -> float:
    """The logarithm of how much longer a context is; none where it is not."""
    return math.log(factor) if factor > 1 else 0.0


def _shown(value: object) -> str:
    """A value as JSON has it, cut where it is long."""
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:60]}..."


def flag(config: Mapping[str, Any], key: str) -> bool:
    """A field that is true or false, or absent. Raises `CheckpointError` for anything else."""
    value = config.get(key)
    if value is not None and not isinstance(value, bool):
        raise CheckpointError(f"config.json: {key} must be true or false, not {value!r}.")
    return bool(value)


def positive(config: Mapping[str, Any], key: str, default: int | None = None) -> int:
    """A whole number above 0. Raises `CheckpointError` for anything else, or without a value."""
    value = config.get(key)
    value = default if value is None else value
    if value is None:
        raise CheckpointError(f"config.json: the field '{key}' is missing.")
    if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
        raise CheckpointError(f"config.json: {key} must be a positive whole number, not {value!r}.")
    return value


def number(config: Mapping[str, Any], key: str, default: float | None = None) -> float:
    """A number above 0. Raises `CheckpointError` for anything else, or without a value."""
    value = config.get(key)
    value = default if value is None else value
    if value is None:
        raise CheckpointError(f"config.json: the field '{key}' is missing.")
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e12:
        raise CheckpointError(f"config.json: {key} must be a positive number, not {value!r}.")
    return float(value)
