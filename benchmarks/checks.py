"""Whether a system computes the same thing as transformers in float32."""

from __future__ import annotations

from typing import Any

import numpy as np

from generator.checkpoint.base import FloatArray

#: A quantised system passes above this cosine of its logits and transformers'.
COSINE = 0.999


def cosine(a: FloatArray, b: FloatArray) -> float:
    """The cosine of the angle between two vectors, in float64; NaN where one has no length."""
    x, y = a.astype(np.float64), b.astype(np.float64)
    length = float(np.linalg.norm(x) * np.linalg.norm(y))
    return float(x @ y) / length if length else float("nan")


def check(logits: FloatArray, expected: FloatArray, quantised: bool) -> dict[str, Any]:
    """What a result records as `checked`.

    A float32 system passes with the same next token, a quantised one with a
    cosine above `COSINE`: a close choice between two tokens may turn there.
    """
    same = bool(logits.argmax() == expected.argmax())
    near = cosine(logits, expected)
    return {
        "next_token": int(logits.argmax()),
        "same_next_token": same,
        "cosine": round(near, 6),
        # Not `>` turned round: NaN fails.
        "passed": near > COSINE if quantised else same and near > COSINE,
    }
