"""The cos/sin table of rotary position embedding (RoFormer, arXiv 2104.09864, section 3.4.2)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from relama.checkpoint.base import FloatArray
from relama.config import RopeParameters
from relama.errors import UnsupportedError


def inverse_frequencies(rope: RopeParameters, head_dim: int) -> npt.NDArray[np.float64]:
    """The angle, in radians a position, by which each pair of a head is turned.

    RoFormer's theta_i = rope_theta ** (-2 i / head_dim), then the scaling:
    `default` leaves it, `linear` (position interpolation, arXiv 2306.15595)
    divides it by `factor`, and `llama3` (`_compute_llama3_parameters` in
    transformers' `modeling_rope_utils.py`) divides the slow pairs, keeps the
    fast ones and blends those between.

    Returns: shape `(head_dim / 2,)`.

    Raises:
        UnsupportedError: a `rope_type` other than these.
    """
    pairs = np.arange(head_dim // 2, dtype=np.float64)
    frequencies = rope.rope_theta ** (-2.0 * pairs / head_dim)  # (head_dim / 2,)
    if rope.rope_type == "default":
        return frequencies
    if rope.rope_type == "linear":
        return frequencies / rope.factor
    if rope.rope_type == "llama3":
        # Turns that a pair makes within the context the model was first trained on.
        turns = rope.original_max_position_embeddings * frequencies / (2.0 * np.pi)
        smooth = (turns - rope.low_freq_factor) / (rope.high_freq_factor - rope.low_freq_factor)
        smooth = np.clip(smooth, 0.0, 1.0)  # 0: slow, divided; 1: fast, kept
        return (1.0 - smooth) * frequencies / rope.factor + smooth * frequencies
    raise UnsupportedError(
        f"rope_type '{rope.rope_type}' is not supported; supported: default, linear, llama3."
    )


def rope_table(
    rope: RopeParameters, head_dim: int, positions: int
) -> tuple[FloatArray, FloatArray]:
    """`(cos, sin)` of positions 0 to `positions - 1`, each of shape `(positions, head_dim / 2)`.

    Precision as in transformers' `LlamaRotaryEmbedding`: frequencies, positions
    and their product are float32, so that large angles are rounded alike. Two
    steps are more exact than there and the same on every machine: frequencies
    are computed in float64 before they are rounded, and so are cos and sin.
    """
    frequencies = inverse_frequencies(rope, head_dim).astype(np.float32)  # (head_dim / 2,)
    angles = np.outer(np.arange(positions, dtype=np.float32), frequencies)  # float32
    exact = angles.astype(np.float64)
    return np.cos(exact).astype(np.float32), np.sin(exact).astype(np.float32)
