"""Rotary embedding (RoFormer, arXiv 2104.09864) and its scalings.

The scalings are those of transformers' `modeling_rope_utils.py`. Two of them depend on how
long the sequence is: `dynamic` stretches its base, and `longrope` changes from short factors to
long ones, past the context that the model was trained on. The oracle follows **one pass over all n
tokens at once**: every position is turned by the frequencies of a sequence of n tokens, as
`model(input_ids)` does. With its cache, `generate` of transformers does otherwise: keys that are
in the cache stay as they were turned, and only new positions get the new frequencies. (Phi-3
alone throws its cache away when it passes the original context, so that there both are equal.)

What this repeats of `relama/rope.py` it is meant to: an oracle that borrowed its table
could not find a mistake in it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from relama.checkpoint.base import FloatArray
from relama.errors import UnsupportedError
from relama.reference.arithmetic import DoubleArray

Rope = Mapping[str, Any]


def rotate(x: FloatArray, rope: Rope, interleaved: bool = False) -> FloatArray:
    """Rotary embedding (equation 34) of `x`, `(heads, n, D)`, at positions 0 to n - 1.

    The pairs are those of `rotate_half` in transformers, element i with i + D/2; with
    `interleaved`, as DeepSeek has them, 2i with 2i + 1, and what comes out is in the order of
    the former. With a `partial_rotary_factor` only the first elements turn.

    Args:
        rope: transformers' `rope_parameters` of a layer, and `max_position_embeddings`.
    """
    n, head_dim = x.shape[1:]
    width = int(head_dim * rope.get("partial_rotary_factor", 1.0))
    frequencies, attention_factor = inverse_frequencies(rope, width, n)
    # Angles are float32, as in transformers.
    angles = np.arange(n, dtype=np.float32)[:, None] * frequencies.astype(np.float32)
    cos = (np.cos(angles) * attention_factor).astype(np.float32)  # (n, width/2)
    sin = (np.sin(angles) * attention_factor).astype(np.float32)
    turning, passed = x[..., :width], x[..., width:]
    if interleaved:
        first, second = turning[..., 0::2], turning[..., 1::2]
    else:
        first, second = np.split(turning, 2, axis=-1)
    turned = (first * cos - second * sin, second * cos + first * sin)
    return np.concatenate([*turned, passed], axis=-1)


def inverse_frequencies(rope: Rope, dim: int, n: int) -> tuple[DoubleArray, float]:
    """Radians a position of each pair, shape `(dim / 2,)`, and a factor of cos and sin.

    Args:
        dim: how many elements of a head turn.
        n: the length of the sequence.

    Raises:
        UnsupportedError: a `rope_type` that is none of transformers'.
    """
    rope_type = rope["rope_type"]
    exponents = np.arange(0, dim, 2, dtype=np.float64) / dim
    frequencies = rope["rope_theta"] ** -exponents
    if rope_type == "default":
        return frequencies, 1.0
    if rope_type == "linear":  # position interpolation, arXiv 2306.15595
        return frequencies / rope["factor"], 1.0
    if rope_type == "dynamic":
        return _dynamic(rope, exponents, n), 1.0
    if rope_type == "llama3":
        return _llama3(rope, frequencies), 1.0
    if rope_type == "yarn":
        return _yarn(rope, frequencies), _yarn_attention_factor(rope)
    if rope_type == "longrope":
        factors = "long" if n > rope["original_max_position_embeddings"] else "short"
        divisors = np.array(rope[f"{factors}_factor"], dtype=np.float64)
        return frequencies / divisors, _longrope_attention_factor(rope)
    raise UnsupportedError(f"The reference knows no rope_type '{rope_type}'.")


def mscale(factor: float, multiplier: float = 1.0) -> float:
    """YaRN's `0.1 ln(s) + 1` (arXiv 2309.00071, equation 22); `yarn_get_mscale` of DeepSeek."""
    return 1.0 if factor <= 1.0 else 0.1 * multiplier * math.log(factor) + 1.0


def _dynamic(rope: Rope, exponents: DoubleArray, n: int) -> DoubleArray:
    """NTK-aware scaling by the length (arXiv 2309.00071, section 3.3).

    Within `max_position_embeddings`, which is the original context here, nothing is scaled.
    """
    context, factor, dim = rope["max_position_embeddings"], rope["factor"], 2 * len(exponents)
    stretch = factor * max(n, context) / context - (factor - 1)
    theta = rope["rope_theta"] * stretch ** (dim / (dim - 2))
    frequencies: DoubleArray = theta**-exponents
    return frequencies


def _llama3(rope: Rope, frequencies: DoubleArray) -> DoubleArray:
    """As in Meta's `apply_scaling` (llama-models): slow pairs are divided, fast ones stay."""
    context, factor = rope["original_max_position_embeddings"], rope["factor"]
    low, high = rope["low_freq_factor"], rope["high_freq_factor"]
    scaled = frequencies.copy()
    for pair, frequency in enumerate(frequencies):
        wavelength = 2 * math.pi / frequency  # positions a turn
        if wavelength > context / low:
            scaled[pair] = frequency / factor
        elif wavelength >= context / high:
            smooth = (context / wavelength - low) / (high - low)
            scaled[pair] = (1 - smooth) * frequency / factor + smooth * frequency
    return scaled


def _yarn(rope: Rope, frequencies: DoubleArray) -> DoubleArray:
    """YaRN's interpolation by parts (arXiv 2309.00071, section 3.2).

    A pair that makes more than `beta_fast` turns within the original context stays, one that
    makes fewer than `beta_slow` is divided by the factor, with a ramp over the pairs between.
    """
    dim, theta = 2 * len(frequencies), rope["rope_theta"]
    context = rope["original_max_position_embeddings"]

    def pair_of(turns: float) -> float:
        """The pair, not a whole number, that makes so many turns within the context."""
        return dim * math.log(context / (turns * 2 * math.pi)) / (2 * math.log(theta))

    low, high = pair_of(rope.get("beta_fast") or 32), pair_of(rope.get("beta_slow") or 1)
    if rope.get("truncate", True):
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, dim - 1)
    if low == high:
        high += 0.001
    ramp = np.clip((np.arange(dim // 2) - low) / (high - low), 0.0, 1.0)  # 1: divided
    scaled: DoubleArray = frequencies / _factor(rope) * ramp + frequencies * (1.0 - ramp)
    return scaled


def _yarn_attention_factor(rope: Rope) -> float:
    factor, given = _factor(rope), rope.get("attention_factor")
    if given is not None:
        return float(given)
    above, below = rope.get("mscale"), rope.get("mscale_all_dim")
    return mscale(factor, above) / mscale(factor, below) if above and below else mscale(factor)


def _longrope_attention_factor(rope: Rope) -> float:
    """LongRoPE's (arXiv 2402.13753): of Phi-3, sqrt(1 + ln(factor) / ln(original context))."""
    factor, given = _factor(rope), rope.get("attention_factor")
    if given is not None:
        return float(given)
    context = rope["original_max_position_embeddings"]
    return 1.0 if factor <= 1.0 else math.sqrt(1 + math.log(factor) / math.log(context))


def _factor(rope: Rope) -> float:
    """By how much the context is longer than the original one."""
    if (factor := rope.get("factor")) is not None:
        return float(factor)
    return float(rope["max_position_embeddings"] / rope["original_max_position_embeddings"])
