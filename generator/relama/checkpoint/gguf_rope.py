"""Rotary embedding in a GGUF file, as `rope_scaling` in Hugging Face's `config.json`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from relama.checkpoint.base import FloatArray
from relama.checkpoint.gguf_settings import Settings, shortest
from relama.errors import CheckpointError, UnsupportedError

#: What each frequency is divided by: settings in the shape of tensors, read into the config.
DIVISORS = "rope_freqs.weight"
SHORT_FACTORS, LONG_FACTORS = "rope_factors_short.weight", "rope_factors_long.weight"
ROPE_TENSORS = (DIVISORS, SHORT_FACTORS, LONG_FACTORS)

#: llama.cpp's converter takes these two from Llama 3.1's config.json, where they never differ.
LOW_FREQ_FACTOR, HIGH_FREQ_FACTOR = 1.0, 4.0

#: What `rope.scaling.type` may be.
SCALING_TYPES = ("none", "linear", "yarn", "longrope")

#: Context lengths tried for `original_max_position_embeddings`, Llama 3.1's first.
ORIGINAL_CONTEXTS = (8192, 4096, 16384, 32768, 2048, 65536, 131072, 1024)


def rope_scaling(
    settings: Settings, vectors: Mapping[str, FloatArray], theta: float, width: int
) -> dict[str, Any] | None:
    """`rope_scaling` as in `config.json`, or None where RoPE is not scaled.

    Args:
        settings: the keys of the file.
        vectors: those of `ROPE_TENSORS` that the file has, each of shape `(width / 2,)`.
        theta: `rope_theta`.
        width: how many elements of a head turn.

    Raises:
        CheckpointError: a tensor is missing, or has a wrong shape.
        UnsupportedError: the scaling, or two at once.
    """
    # llama.cpp reads an absent type as linear, and an absent or zero factor as 1.
    kind = settings.get("rope.scaling.type", "linear")
    if kind not in SCALING_TYPES:
        raise settings.refuse("rope.scaling.type", ", ".join(SCALING_TYPES))
    old_factor = settings.number("rope.scale_linear", default=1.0)
    factor = settings.number("rope.scaling.factor", default=old_factor) or 1.0
    for name, vector in vectors.items():
        if vector.shape != (width // 2,):
            raise CheckpointError(
                f"tensor {name!r} has shape {vector.shape}, expected {(width // 2,)}."
            )
    if has_factors(vectors) or kind == "longrope":
        return _longrope(settings, vectors, kind, factor)
    divisors = vectors.get(DIVISORS)
    scaled = kind != "none" and (kind != "linear" or factor != 1.0)
    if divisors is not None and not np.all(divisors == 1.0):
        if scaled:
            raise UnsupportedError(
                f"RoPE is scaled by {DIVISORS!r} and by {settings.key('rope.scaling.type')} "
                f"'{kind}' at once, which is not supported; supported: either."
            )
        return _llama3(settings, divisors, theta, width)
    if not scaled:
        return None
    return _yarn(settings, factor) if kind == "yarn" else {"rope_type": kind, "factor": factor}


def has_factors(vectors: Mapping[str, FloatArray]) -> bool:
    """Whether a file has LongRoPE's factors, which llama.cpp uses whatever the type says."""
    return SHORT_FACTORS in vectors or LONG_FACTORS in vectors


def _yarn(settings: Settings, factor: float) -> dict[str, Any]:
    """`yarn`, with those of its parameters that llama.cpp's converter found in `config.json`.

    llama.cpp itself passes the last three over for the architectures that are read here. Whether
    the ramp is cut to whole pairs (`truncate`) no file says; llama.cpp cuts it, as is the default
    of transformers.
    """
    context = settings.integer("context_length")
    scaling = {
        "rope_type": "yarn",
        "factor": factor,
        "original_max_position_embeddings": settings.integer(
            "rope.scaling.original_context_length", default=context
        ),
    }
    for field, name in (
        ("attention_factor", "yarn_attn_factor"),
        ("beta_fast", "yarn_beta_fast"),
        ("beta_slow", "yarn_beta_slow"),
    ):
        if settings.get(f"rope.scaling.{name}") is not None:
            scaling[field] = settings.number(f"rope.scaling.{name}")
    return scaling


def _longrope(
    settings: Settings, vectors: Mapping[str, FloatArray], kind: str, factor: float
) -> dict[str, Any]:
    """`longrope`: a divisor for each frequency, others for short texts than for long ones."""
    for name in (SHORT_FACTORS, LONG_FACTORS):
        if name not in vectors:
            raise CheckpointError(f"tensor {name!r}, which RoPE of type longrope has, is missing.")
    if DIVISORS in vectors or kind == "yarn" or factor != 1.0:
        raise UnsupportedError(
            f"RoPE is scaled by {SHORT_FACTORS!r} and in another way (rope.scaling.type or "
            f"{DIVISORS!r}) at once, which is not supported; supported: either."
        )
    context = settings.integer("context_length")
    return {
        "rope_type": "longrope",
        "short_factor": [shortest(value) for value in vectors[SHORT_FACTORS]],
        "long_factor": [shortest(value) for value in vectors[LONG_FACTORS]],
        "attention_factor": settings.number("rope.scaling.attn_factor", default=1.0),
        "original_max_position_embeddings": settings.integer(
            "rope.scaling.original_context_length", default=context
        ),
    }


def _llama3(settings: Settings, divisors: FloatArray, theta: float, width: int) -> dict[str, Any]:
    """The `llama3` parameters of which llama.cpp's converter made `rope_freqs.weight`.

    The file holds only the result, by what each frequency is divided:
    1 for the fast ones, `factor` for the slow ones, and a blend between them.
    Parameters are tried until they give the same divisors.

    Args:
        settings: the keys of the file.
        divisors: `rope_freqs.weight`, shape `(width / 2,)`.
        theta: `rope_theta`.
        width: how many elements of a head turn.
    """
    factor = shortest(float(divisors.max()))
    stated = settings.get("rope.scaling.original_context_length")
    if stated:
        stated = settings.integer("rope.scaling.original_context_length")
    contexts = (stated, *ORIGINAL_CONTEXTS) if stated else ORIGINAL_CONTEXTS
    for context in contexts:
        expected = llama3_divisors(theta, width, factor, context)
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
    theta: float, width: int, factor: float, original_context: int
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """By what `llama3` scaling divides each frequency of RoPE, shape `(width / 2,)`.

    As `_compute_llama3_parameters` in transformers' `modeling_rope_utils.py`:
    a frequency that turns more than `HIGH_FREQ_FACTOR` times within the
    original context stays, one that turns less than `LOW_FREQ_FACTOR` times is
    divided by `factor`.
    """
    frequencies = theta ** (-np.arange(0, width, 2) / width)
    turns = original_context * frequencies / (2 * math.pi)
    smooth = np.clip((turns - LOW_FREQ_FACTOR) / (HIGH_FREQ_FACTOR - LOW_FREQ_FACTOR), 0.0, 1.0)
    divisors: np.ndarray[tuple[int], np.dtype[np.float64]] = 1 / ((1 - smooth) / factor + smooth)
    return divisors
