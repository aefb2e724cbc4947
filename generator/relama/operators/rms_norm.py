"""Root mean square normalisation (arXiv 1910.07467; `LlamaRMSNorm`)."""

from __future__ import annotations

from collections.abc import Mapping
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
    """Reads one hidden state, or rows by head, each of which it normalises by itself.

    A norm per head (`Qwen3RMSNorm` of queries and keys) stands between `SplitHeads` and
    `RotaryEmbedding`; the heads share one weight of `head_dim` elements.

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
        reads.expect("the weight's shape", (weight.rows, weight.columns), (1, hidden[-1]))
        return hidden

    def words(self, reads: Reads, shape: Shape) -> Words:
        return Words(
            "Root mean square normalisation.",
            "y = x / sqrt(mean(x^2) + eps) * weight",
            f"x: {bracket(reads.inputs[0])}, weight: {bracket(shape[-1:])} -> y: {bracket(shape)}",
        )

    def columns(self, shape: Shape) -> Mapping[str, str]:
        if len(shape) == 1:
            return super().columns(shape)
        return {"head": "The head.", "vector": f"The normalised head, [{shape[1]}]."}

    def tests(self, reads: Reads, shape: Shape) -> list[DataTest]:
        arguments = {"weight": f"ref('{reads.the_weight().name}')"}
        unit = {"relama.unit_mean_square": {"arguments": arguments, "config": TRACED}}
        return [*super().tests(reads, shape), unit]
