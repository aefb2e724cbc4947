"""The end of a mixture of experts: the weighted sum (`MixtralExperts`)."""

from __future__ import annotations

from dataclasses import dataclass

from relama.operators.base import Computation, Kind, Reads, Shape, Words, bracket


@dataclass(frozen=True)
class Mixture(Computation):
    """Reads what the chosen experts gave, with the router's weights, and the residual stream.

    An expert that all tokens share is part of the residual stream that comes in.
    """

    kind = Kind.MIXTURE
    macros = ("mixture",)
    group = "mlp"

    def output_shape(self, reads: Reads) -> Shape:
        hidden, residual = reads.some(2)
        reads.expect("the residual's shape", residual, hidden)
        return hidden

    def words(self, reads: Reads, shape: Shape) -> Words:
        return Words(
            "Sums what the chosen experts gave, with the residual connection.",
            "y = residual + sum over chosen experts of weight * x[expert]",
            f"x, weight: {bracket(reads.inputs[0])} and a number of each chosen expert, "
            f"residual: {bracket(shape)} -> y: {bracket(shape)}",
        )
