"""Whether a system computes the same thing as transformers in float32."""

from __future__ import annotations

from typing import Any

import numpy as np

from relama.checkpoint.base import FloatArray

#: A system passes above this cosine of its logits and transformers'.
COSINE = 0.999
#: A quantised one that chooses the same token passes above this.
COSINE_OF_THE_SAME = 0.99


def cosine(a: FloatArray, b: FloatArray) -> float:
    """The cosine of the angle between two vectors, in float64; NaN where one has no length."""
    x, y = a.astype(np.float64), b.astype(np.float64)
    length = float(np.linalg.norm(x) * np.linalg.norm(y))
    return float(x @ y) / length if length else float("nan")


def check(logits: FloatArray, expected: FloatArray, quantised: bool) -> dict[str, Any]:
    """What a result records as `checked`."""
    same = bool(logits.argmax() == expected.argmax())
    near = cosine(logits, expected)
    return {
        "next_token": int(logits.argmax()),
        "same_next_token": same,
        "cosine": round(near, 6),
        "passed": passes(same, near, quantised),
    }


def passes(same: bool, near: float, quantised: bool) -> bool:
    """Whether a system with the same next token, or not, and this cosine passes.

    A float32 system needs both. For a quantised one either will do: a close choice
    between two tokens may turn, and activations of 8 bits lower the cosine.
    """
    # Not `<=`: NaN fails.
    if quantised:
        return near > COSINE or (same and near > COSINE_OF_THE_SAME)
    return same and near > COSINE
