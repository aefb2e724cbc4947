"""Rotary position embedding (RoFormer, arXiv 2104.09864; `apply_rotary_pos_emb`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from relama.operators.base import Computation, Kind, Reads, Shape, Words, bracket


@dataclass(frozen=True)
class RotaryEmbedding(Computation):
    """Reads queries and keys: of two linear layers, or side by side in one vector.

    What comes out are rows by head, the heads of the first input before those of the second.
    It cuts vectors into heads by itself, or reads rows by head, where something stands
    between (see `SplitHeads`).

    Attributes:
        num_heads: how many heads each input has; in a vector, those at its front.
        head_dim: width of a head.
    """

    kind = Kind.ROTARY_EMBEDDING
    macros = ("rotary_embedding",)
    step_models = ("rotary_angles",)
    group = "attention"

    num_heads: tuple[int, ...]
    head_dim: int

    def output_shape(self, reads: Reads) -> Shape:
        shapes = reads.some(len(self.num_heads))
        by_head = len(shapes[0]) == 2
        for shape, count in zip(shapes, self.num_heads, strict=True):
            if by_head:
                reads.expect("an input's heads", shape, (count, self.head_dim))
            elif len(shape) != 1 or shape[0] < count * self.head_dim:
                reads.expect("an input's shape", shape, f"at least ({count * self.head_dim},)")
        return (sum(self.num_heads), self.head_dim)

    def words(self, reads: Reads, shape: Shape) -> Words:
        return Words(
            "Turns queries and keys by an angle that grows with the position.",
            "y = x * cos(angle) + rotate_half(x) * sin(angle)",
            f"x: {bracket(reads.inputs[0])} -> y: {bracket(shape)}, query heads before key heads",
        )

    def columns(self, shape: Shape) -> Mapping[str, str]:
        return {
            "head": "The head, query heads before key heads.",
            "vector": f"The turned head, [{shape[1]}].",
        }
