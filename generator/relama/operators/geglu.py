"""GEGLU (arXiv 2002.05202, equation 6, without biases; `Gemma2MLP`)."""

from __future__ import annotations

from dataclasses import dataclass

from relama.operators.base import Kind, Reads, Shape, Words, bracket
from relama.operators.swiglu import Swiglu


@dataclass(frozen=True)
class Geglu(Swiglu):
    """SwiGLU with GELU (arXiv 1606.08415) for its gate, in the form with tanh."""

    kind = Kind.GEGLU
    macros = ("geglu",)

    def words(self, reads: Reads, shape: Shape) -> Words:
        return Words(
            "The gated activation of the MLP.",
            "y = gate * sigmoid(2 * sqrt(2 / pi) * (gate + 0.044715 * gate^3)) * up",
            f"gate, up: {bracket(shape)} -> y: {bracket(shape)}",
        )
