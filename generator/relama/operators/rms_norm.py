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
    """Reads one hidden state, or heads side by side, each of which it normalises by itself.

    A norm per head (`Qwen3RMSNorm` of queries and keys) stands between a projection and the
    rotary embedding; the heads share one weight of `head_dim` elements.

    Attributes:
        eps: added to the mean square, under the root.
        group: attention or MLP, whichever reads the norm; hidden for the last one.
        head_dim: width of a head, where each is normalised by itself.
    """

    kind = Kind.RMS_NORM
    macros = ("rms_norm",)

    eps: float
    group: Group
    head_dim: int | None = None

    def output_shape(self, reads: Reads) -> Shape:
        (hidden,) = reads.some(1)
        weight = reads.the_weight()
        width = self.head_dim or hidden[-1]
        reads.expect("the weight's shape", (weight.rows, weight.columns), (1, width))
        reads.expect("what no head holds of the input", hidden[-1] % width, 0)
        return hidden

    def words(self, reads: Reads, shape: Shape) -> Words:
        weight = reads.the_weight()
        return Words(
            "Root mean square normalisation" + (" of each head." if self.head_dim else "."),
            "y = x / sqrt(mean(x^2) + eps) * weight",
            f"x: {bracket(reads.inputs[0])}, weight: [{weight.columns}] -> y: {bracket(shape)}",
        )

    def tests(self, reads: Reads, shape: Shape) -> list[DataTest]:
        arguments = {"weight": f"ref('{reads.the_weight().name}')"}
        unit = {"relama.unit_mean_square": {"arguments": arguments, "config": TRACED}}
        return [*super().tests(reads, shape), unit]
