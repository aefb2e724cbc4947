"""SwiGLU (arXiv 2002.05202, equation 6, without biases; `LlamaMLP`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from relama.operators.base import Computation, Kind, Reads, Shape, Words, bracket
from relama.operators.router import BY_EXPERT


@dataclass(frozen=True)
class Swiglu(Computation):
    """Reads gate and up: of two linear layers, or side by side in one vector.

    Attributes:
        intermediate_size: width of either, and of what comes out.
        by_expert: whether a token has a row for each expert that it is sent to.
    """

    kind = Kind.SWIGLU
    macros = ("swiglu",)
    group = "mlp"

    intermediate_size: int
    by_expert: bool = False

    def output_shape(self, reads: Reads) -> Shape:
        shapes = reads.some(1, 2)
        size = self.intermediate_size
        reads.expect("the width of gate and up", sum(shape[0] for shape in shapes), 2 * size)
        return (size,)

    def words(self, reads: Reads, shape: Shape) -> Words:
        return Words(
            "The gated activation of the MLP.",
            "y = gate * sigmoid(gate) * up",
            f"gate, up: {bracket(shape)} -> y: {bracket(shape)}",
        )

    def columns(self, shape: Shape) -> Mapping[str, str]:
        return {**(BY_EXPERT if self.by_expert else {}), **super().columns(shape)}
