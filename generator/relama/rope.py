"""The cos/sin table of rotary position embedding (RoFormer, arXiv 2104.09864, section 3.4.2)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from relama.checkpoint.base import FloatArray
from relama.config import RopeParameters


def inverse_frequencies(
    rope: RopeParameters, head_dim: int, is_long: bool = False
) -> npt.NDArray[np.float64]:
    """The angle, in radians a position, by which each pair of a head is turned.

    RoFormer's theta_i = rope_theta ** (-2 i / width) over the width that turns, then the scaling
    of `modeling_rope_utils.py` in transformers: `default` leaves it, `linear` (position
    interpolation, arXiv 2306.15595) divides it by `factor`, `llama3` and `yarn` (arXiv 2309.00071)
    divide the slow pairs, keep the fast ones and blend those between, and `longrope` (arXiv
    2402.13753) has a divisor for each pair. A pair that does not turn has 0, see `turned_order`.

    Args:
        is_long: whether it is `longrope` of a sequence longer than the original context.

    Returns: shape `(head_dim / 2,)`.
    """
    width = int(head_dim * rope.partial_rotary_factor)
    pairs = np.arange(width // 2, dtype=np.float64)
    frequencies = rope.rope_theta ** (-2.0 * pairs / width)  # (width / 2,)
    if rope.rope_type == "linear":
        frequencies = frequencies / rope.factor
    elif rope.rope_type == "llama3":
        # Turns that a pair makes within the context the model was first trained on.
        turns = rope.original_max_position_embeddings * frequencies / (2.0 * np.pi)
        smooth = (turns - rope.low_freq_factor) / (rope.high_freq_factor - rope.low_freq_factor)
        frequencies = _blended(frequencies, rope.factor, np.clip(smooth, 0.0, 1.0))
    elif rope.rope_type == "yarn":
        frequencies = _blended(frequencies, rope.factor, 1.0 - _yarn_ramp(rope, pairs, width))
    elif rope.rope_type == "longrope":
        frequencies = frequencies / np.array(rope.long_factor if is_long else rope.short_factor)
    return np.concatenate([frequencies, np.zeros(head_dim // 2 - len(frequencies))])


def _blended(
    frequencies: npt.NDArray[np.float64], factor: float, kept: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Frequencies divided by a factor where `kept` is 0, as they are where it is 1."""
    return (1.0 - kept) * frequencies / factor + kept * frequencies


def _yarn_ramp(
    rope: RopeParameters, pairs: npt.NDArray[np.float64], width: int
) -> npt.NDArray[np.float64]:
    """0 up to the pair of `beta_fast` turns in the context, 1 from that of `beta_slow` on."""
    context = rope.original_max_position_embeddings / (2.0 * np.pi)
    low, high = (
        width * np.log(context / turns) / (2.0 * np.log(rope.rope_theta))
        for turns in (rope.beta_fast, rope.beta_slow)
    )
    if rope.truncate:
        low, high = np.floor(low), np.ceil(high)
    low, high = max(low, 0.0), min(high, width - 1.0)
    ramp: npt.NDArray[np.float64] = (pairs - low) / (high - low if high != low else 0.001)
    return np.clip(ramp, 0.0, 1.0)


def turned_order(rope: RopeParameters, head_dim: int) -> list[int]:
    """The order of a head's elements in which the pairs that turn are i and i + head_dim / 2.

    Where only the front of a head turns (`partial_rotary_factor`), its pairs are i and
    i + width / 2: the halves of the rest are put behind the halves of the front. Queries and
    keys in the same order have the same products.
    """
    width = int(head_dim * rope.partial_rotary_factor)
    front, rest = width // 2, (head_dim - width) // 2
    first = [*range(front), *range(width, width + rest)]
    return [*first, *range(front, width), *range(width + rest, head_dim)]


def rope_table(
    rope: RopeParameters, head_dim: int, positions: int
) -> tuple[FloatArray, FloatArray]:
    """`(cos, sin)` of a sequence of so many positions, each of shape `(positions, head_dim / 2)`.

    Precision as in transformers' `LlamaRotaryEmbedding`: frequencies, positions
    and their product are float32, so that large angles are rounded alike. Two
    steps are more exact than there and the same on every machine: frequencies
    are computed in float64 before they are rounded, and so are cos and sin.
    """
    is_long = bool(rope.long_factor) and positions > rope.original_max_position_embeddings
    frequencies = inverse_frequencies(rope, head_dim, is_long).astype(np.float32)  # (head_dim / 2,)
    angles = np.outer(np.arange(positions, dtype=np.float32), frequencies)  # float32
    exact = angles.astype(np.float64)
    factors = np.where(frequencies == 0, 1.0, rope.attention_factor)  # (head_dim / 2,)
    cos, sin = factors * np.cos(exact), factors * np.sin(exact)
    return cos.astype(np.float32), sin.astype(np.float32)
