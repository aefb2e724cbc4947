"""GGUF metadata, translated to the fields of Hugging Face's `config.json`.

The keys are described at https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
under "LLM"; what a Llama file must hold is what llama.cpp's converter writes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from relama.checkpoint.base import FloatArray
from relama.checkpoint.gguf_header import quoted
from relama.errors import CheckpointError, UnsupportedError

ARCHITECTURES = ("llama",)

#: Metadata that changes what is computed, with the values that leave it as it is. The first
#: are those that llama.cpp reads for a Llama (`load_hparams` in llama-model.cpp), the others
#: those that it reads for architectures near it; a file that has them means more than a Llama.
NEUTRAL_VALUES: dict[str, tuple[object, ...]] = {
    "general.type": ("model",),
    "llama.attention.causal": (True,),
    "llama.expert_count": (0,),
    "llama.expert_used_count": (0,),
    "llama.expert_group_count": (0,),
    "llama.expert_group_used_count": (0,),
    "llama.nextn_predict_layers": (0,),
    "llama.rope.scaling.attn_factor": (1.0,),
    "llama.rope.scaling.alpha": (0.0,),
    "split.count": (0, 1),
    "llama.adapters.count": (0,),
    "llama.attention.clamp_kqv": (0.0,),
    "llama.attention.max_alibi_bias": (0.0,),
    "llama.attention.output_scale": (0.0, 1.0),
    "llama.attention.scale": (0.0,),
    "llama.attention.temperature_scale": (0.0,),
    "llama.attention.value_scale": (0.0, 1.0),
    "llama.attn_logit_softcapping": (0.0,),
    "llama.embedding_scale": (0.0, 1.0),
    "llama.final_logit_softcapping": (0.0,),
    "llama.hidden_activation": ("swish", "silu"),
    "llama.logit_scale": (0.0, 1.0),
    "llama.n_deepstack_layers": (0,),
    "llama.num_loops": (0, 1),
    "llama.residual_scale": (0.0, 1.0),
    "llama.rope.scaling.yarn_attn_factor": (1.0,),
    "llama.rope.scaling.yarn_ext_factor": (-1.0, 0.0),
    "llama.rope.scaling.yarn_log_multiplier": (0.0,),
    "llama.swin_norm": (False,),
    "llama.use_parallel_residual": (False,),
}

#: Other metadata of a Llama: what is read here, and what changes nothing.
OTHER_SETTINGS = (
    "attention.head_count",
    "attention.head_count_kv",
    "attention.key_length",
    "attention.layer_norm_epsilon",
    "attention.layer_norm_rms_epsilon",
    "attention.value_length",
    "block_count",
    "context_length",
    "embedding_length",
    "feed_forward_length",
    "pooling_type",
    "rope.dimension_count",
    "rope.freq_base",
    "rope.scale_linear",
    "rope.scaling.factor",
    "rope.scaling.finetuned",
    "rope.scaling.original_context_length",
    "rope.scaling.type",
    "tensor_data_layout",
    "vocab_size",
)

#: llama.cpp's converter takes these two from Llama 3.1's config.json, where they never differ.
LOW_FREQ_FACTOR, HIGH_FREQ_FACTOR = 1.0, 4.0

#: What `llama.rope.scaling.type` may be; of these, the first two are computed.
ROPE_SCALING_TYPES = ("none", "linear", "llama3", "longrope", "yarn")

#: Context lengths tried for `original_max_position_embeddings`, Llama 3.1's first.
ORIGINAL_CONTEXTS = (8192, 4096, 16384, 32768, 2048, 65536, 131072, 1024)


def huggingface_config(
    metadata: Mapping[str, Any],
    shapes: Mapping[str, tuple[int, ...]],
    rope_divisors: FloatArray | None,
) -> dict[str, Any]:
    """The fields of `LlamaConfig`, from the metadata of a GGUF file.

    Args:
        metadata: the file's key-value pairs.
        shapes: the shapes of its tensors by their GGUF names, in Hugging Face's order.
        rope_divisors: `rope_freqs.weight`, shape `(head_dim / 2,)`, if the file has it.

    Raises:
        CheckpointError: a key is missing or is not a number.
        UnsupportedError: the architecture, a setting or the RoPE scaling is not supported.
    """
    architecture = metadata.get("general.architecture")
    if architecture not in ARCHITECTURES:
        raise UnsupportedError(
            f"the architecture {_shown(architecture)} (general.architecture) is not supported; "
            f"supported: {', '.join(ARCHITECTURES)}."
        )
    for key, neutral in NEUTRAL_VALUES.items():
        if key in metadata and not _is_neutral(metadata[key], neutral):
            raise UnsupportedError(
                f"{key} is {_shown(metadata[key])}, which is not supported; "
                f"supported: {neutral[-1]}."
            )

    heads = _integer(metadata, "llama.attention.head_count")
    hidden_size = _integer(metadata, "llama.embedding_length")
    head_dim = _head_dim(metadata, heads, hidden_size)
    context = _integer(metadata, "llama.context_length")
    theta = _number(metadata, "llama.rope.freq_base", default=10000.0)
    # As in llama.cpp: the key counts only where nothing else says it.
    vocab_size = shapes.get("token_embd.weight", (None,))[0]
    return {
        "model_type": architecture,
        "vocab_size": vocab_size or _integer(metadata, "llama.vocab_size"),
        "hidden_size": hidden_size,
        "intermediate_size": _integer(metadata, "llama.feed_forward_length"),
        "num_hidden_layers": _integer(metadata, "llama.block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": _integer(metadata, "llama.attention.head_count_kv", default=heads),
        "head_dim": head_dim,
        "hidden_act": "silu",
        "max_position_embeddings": context,
        "rms_norm_eps": _number(metadata, "llama.attention.layer_norm_rms_epsilon"),
        "rope_theta": theta,
        "rope_scaling": _rope_scaling(metadata, rope_divisors, theta, head_dim),
        "tie_word_embeddings": "output.weight" not in shapes,
        "attention_bias": _has_bias(shapes, "attn_q", "attn_k", "attn_v", "attn_output"),
        "mlp_bias": _has_bias(shapes, "ffn_gate", "ffn_up", "ffn_down"),
    }


def ignored_settings(metadata: Mapping[str, Any]) -> list[str]:
    """A sentence about the settings of the architecture that nothing here knows, if any."""
    known = {*NEUTRAL_VALUES, *(f"llama.{name}" for name in OTHER_SETTINGS)}
    unknown = [key for key in metadata if key.startswith("llama.") and key not in known]
    if not unknown:
        return []
    shown = ", ".join(map(quoted, unknown[:4])) + (", ..." if len(unknown) > 4 else "")
    return [
        f"{len(unknown)} settings are not such as llama.cpp reads for this architecture, "
        f"and were left out: {shown}."
    ]


def _is_neutral(value: object, neutral: tuple[object, ...]) -> bool:
    """Whether a setting, or each of an array of one per layer, leaves everything as it is."""
    return all(element in neutral for element in (value if isinstance(value, list) else [value]))


def _has_bias(shapes: Mapping[str, tuple[int, ...]], *parts: str) -> bool:
    """Whether any of these parts of a layer has a bias; `GgufCheckpoint` adds the others."""
    return any(name.endswith(tuple(f".{part}.bias" for part in parts)) for name in shapes)


def _head_dim(metadata: Mapping[str, Any], heads: int, hidden_size: int) -> int:
    """The width of a head; keys, values and their rotation must all have it."""
    rotated = _integer(metadata, "llama.rope.dimension_count", default=hidden_size // heads)
    head_dim = _integer(metadata, "llama.attention.key_length", default=rotated)
    for key in ("llama.rope.dimension_count", "llama.attention.value_length"):
        if _integer(metadata, key, default=head_dim) != head_dim:
            raise UnsupportedError(
                f"{key} ({_shown(metadata[key])}) differs from the width of a head ({head_dim}), "
                "which is not supported; supported: equal ones."
            )
    if head_dim % 2:
        raise CheckpointError(
            f"the width of a head ({head_dim}) must be even: rotary embedding turns pairs."
        )
    return head_dim


def _rope_scaling(
    metadata: Mapping[str, Any], divisors: FloatArray | None, theta: float, head_dim: int
) -> dict[str, Any] | None:
    """`rope_scaling` as in `config.json`, or None where RoPE is not scaled.

    A scaling that relama does not compute is passed on under its name, so that
    the reader of the config refuses it.
    """
    # llama.cpp reads an absent type as linear, and an absent or zero factor as 1.
    kind = metadata.get("llama.rope.scaling.type", "linear")
    if kind not in ROPE_SCALING_TYPES:
        raise UnsupportedError(
            f"llama.rope.scaling.type is {_shown(kind)}, which is not supported; "
            f"supported: {', '.join(ROPE_SCALING_TYPES[:2])}."
        )
    old_factor = _number(metadata, "llama.rope.scale_linear", default=1.0)
    factor = _number(metadata, "llama.rope.scaling.factor", default=old_factor) or 1.0
    if divisors is not None and divisors.shape != (head_dim // 2,):
        raise CheckpointError(
            f"tensor 'rope_freqs.weight' has shape {divisors.shape}, expected {(head_dim // 2,)}."
        )
    scaled = kind != "none" and (kind != "linear" or factor != 1.0)
    if divisors is None or np.all(divisors == 1.0):
        return {"rope_type": kind, "factor": factor} if scaled else None
    if scaled:
        raise UnsupportedError(
            f"RoPE is scaled by 'rope_freqs.weight' and by llama.rope.scaling.type '{kind}' "
            "at once, which is not supported; supported: either."
        )
    return _llama3_scaling(metadata, divisors, theta, head_dim)


def _llama3_scaling(
    metadata: Mapping[str, Any], divisors: FloatArray, theta: float, head_dim: int
) -> dict[str, Any]:
    """The `llama3` parameters of which llama.cpp's converter made `rope_freqs.weight`.

    The file holds only the result, by what each frequency is divided:
    1 for the fast ones, `factor` for the slow ones, and a blend between them.
    Parameters are tried until they give the same divisors.

    Args:
        metadata: the file's key-value pairs.
        divisors: `rope_freqs.weight`, shape `(head_dim / 2,)`.
        theta: `rope_theta`.
        head_dim: the width of a head.
    """
    factor = _shortest(float(divisors.max()))
    stated = metadata.get("llama.rope.scaling.original_context_length")
    if stated:
        stated = _integer(metadata, "llama.rope.scaling.original_context_length")
    contexts = (stated, *ORIGINAL_CONTEXTS) if stated else ORIGINAL_CONTEXTS
    for context in contexts:
        expected = llama3_divisors(theta, head_dim, factor, context)
        if np.allclose(divisors, expected, rtol=1e-4, atol=0):
            return {
                "rope_type": "llama3",
                "factor": factor,
                "low_freq_factor": LOW_FREQ_FACTOR,
                "high_freq_factor": HIGH_FREQ_FACTOR,
                "original_max_position_embeddings": context,
            }
    raise UnsupportedError(
        "the RoPE divisors in 'rope_freqs.weight' are not supported; supported: those of a "
        f"'llama3' scaling with low_freq_factor {LOW_FREQ_FACTOR:g}, high_freq_factor "
        f"{HIGH_FREQ_FACTOR:g} and original_max_position_embeddings one of "
        f"{', '.join(map(str, contexts))}."
    )


def llama3_divisors(
    theta: float, head_dim: int, factor: float, original_context: int
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """By what `llama3` scaling divides each frequency of RoPE, shape `(head_dim / 2,)`.

    As `_compute_llama3_parameters` in transformers' `modeling_rope_utils.py`:
    a frequency that turns more than `HIGH_FREQ_FACTOR` times within the
    original context stays, one that turns less than `LOW_FREQ_FACTOR` times is
    divided by `factor`.
    """
    frequencies = theta ** (-np.arange(0, head_dim, 2) / head_dim)
    turns = original_context * frequencies / (2 * math.pi)
    smooth = np.clip((turns - LOW_FREQ_FACTOR) / (HIGH_FREQ_FACTOR - LOW_FREQ_FACTOR), 0.0, 1.0)
    divisors: np.ndarray[tuple[int], np.dtype[np.float64]] = 1 / ((1 - smooth) / factor + smooth)
    return divisors


def _integer(metadata: Mapping[str, Any], key: str, default: int | None = None) -> int:
    """A whole number; an array with one value per layer must hold equal ones."""
    value: Any = metadata.get(key, default)
    if isinstance(value, list) and value:
        if any(element != value[0] for element in value):
            raise UnsupportedError(
                f"{key} differs between layers ({_shown(value)}), which is not supported; "
                "supported: the same value for every layer."
            )
        value = value[0]
    if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
        raise CheckpointError(f"{key} must be a positive whole number, not {_shown(value)}.")
    return int(value)


def _number(metadata: Mapping[str, Any], key: str, default: float | None = None) -> float:
    value = metadata.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e38:
        raise CheckpointError(f"{key} must be a number, not {_shown(value)}.")
    return _shortest(value)


def _shown(value: object) -> str:
    """A value for a message, not too long."""
    if isinstance(value, float) and abs(value) < 1e38:
        value = _shortest(value)
    text = repr(value)
    return text if len(text) <= 64 else f"{text[:61]}..."


def _shortest(value: float) -> float:
    """The shortest decimal of the same float32: 1e-05, not 9.999999747378752e-06."""
    return float(str(np.float32(value)))
