"""Vectors cut into heads (`.view(..., num_heads, head_dim)` in transformers)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from relama.operators.base import Computation, Kind, Reads, Shape, Words, bracket


@dataclass(frozen=True)
class SplitHeads(Computation):
    """Reads vectors with their heads at the front; what comes out are rows by head.

    The heads of the first input come before those of the second.

    It is for what stands between a projection and the rotary embedding, as a norm of each
    head does. Where nothing does, the rotary embedding cuts its inputs by itself.

    Attributes:
        num_heads: how many heads each input has, at the front of its vector.
        head_dim: width of a head.
    """

    kind = Kind.SPLIT_HEADS
    macros = ("split_heads",)
    group = "attention"

    num_heads: tuple[int, ...]
    head_dim: int

    def output_shape(self, reads: Reads) -> Shape:
        for shape, count in zip(reads.some(len(self.num_heads)), self.num_heads, strict=True):
            if len(shape) != 1 or shape[0] < count * self.head_dim:
                reads.expect("an input's shape", shape, f"at least ({count * self.head_dim},)")
        return (sum(self.num_heads), self.head_dim)

    def words(self, reads: Reads, shape: Shape) -> Words:
        return Words(
            "Cuts vectors into heads.",
            "y[head, i] = x[head * head_dim + i]",
            f"x: {', '.join(map(bracket, reads.inputs))} -> y: {bracket(shape)}",
        )

    def columns(self, shape: Shape) -> Mapping[str, str]:
        return {"head": "The head.", "vector": f"The head's elements, [{shape[1]}]."}
