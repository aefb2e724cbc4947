"""Root mean square normalisation (arXiv 1910.07467; `LlamaRMSNorm`)."""

from __future__ import annotations

from dataclasses import dataclass

from relama.operators.base import (
    TRACED,
    Computation,
    DataTest,
    Group,
    Kind,
    Reads,
    Shape,
    Words,
    bracket,
)


@dataclass(frozen=True)
class RmsNorm(Computation):
    """Reads one hidden state.

    Attributes:
        eps: added to the mean square, under the root.
        group: attention or MLP, whichever reads the norm; hidden for the last one.
    """

    kind = Kind.RMS_NORM
    macros = ("rms_norm",)

    eps: float
    group: Group

    def output_shape(self, reads: Reads) -> Shape:
        (hidden,) = reads.some(1)
        weight = reads.the_weight()
        reads.expect("the weight's shape", (weight.rows, weight.columns), (1, *hidden))
        return hidden

    def words(self, reads: Reads, shape: Shape) -> Words:
        return Words(
            "Root mean square normalisation.",
            "y = x / sqrt(mean(x^2) + eps) * weight",
            f"x: {bracket(reads.inputs[0])}, weight: {bracket(shape)} -> y: {bracket(shape)}",
        )

    def tests(self, reads: Reads, shape: Shape) -> list[DataTest]:
        arguments = {"weight": f"ref('{reads.the_weight().name}')"}
        unit = {"relama.unit_mean_square": {"arguments": arguments, "config": TRACED}}
        return [*super().tests(reads, shape), unit]
