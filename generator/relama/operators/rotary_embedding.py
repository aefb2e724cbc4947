"""Rotary position embedding (RoFormer, arXiv 2104.09864; `apply_rotary_pos_emb`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from relama.operators.base import Computation, Kind, Reads, Shape, Words, bracket


@dataclass(frozen=True)
class RotaryEmbedding(Computation):
    """Reads queries and keys: of two linear layers, or side by side in one vector.

    What comes out is one vector, the heads of the first input before those of the second.

    Attributes:
        num_heads: how many heads each input has, at the front of its vector.
        head_dim: width of a head.
        angles: the model of its angles; `None` where nothing turns (NoPE, arXiv 2305.19466), and
            the heads only come to stand side by side.
        by_sequence: whether that has angles for each sequence, see the macro `rotary_angles`.
    """

    kind = Kind.ROTARY_EMBEDDING
    macros = ("rotary_embedding",)
    group = "attention"

    num_heads: tuple[int, ...]
    head_dim: int
    angles: str | None = "rotary_angles"
    by_sequence: bool = False

    @property
    def step_models(self) -> tuple[str, ...]:  # type: ignore[override]
        return (self.angles,) if self.angles else ()

    def output_shape(self, reads: Reads) -> Shape:
        shapes = reads.some(len(self.num_heads))
        for shape, count in zip(shapes, self.num_heads, strict=True):
            if len(shape) != 1 or shape[0] < count * self.head_dim:
                reads.expect("an input's shape", shape, f"at least ({count * self.head_dim},)")
        return (sum(self.num_heads) * self.head_dim,)

    def words(self, reads: Reads, shape: Shape) -> Words:
        if self.angles is None:
            return Words(
                "Queries and keys side by side; nothing tells this layer their positions.",
                "y = x",
                f"x: {', '.join(map(bracket, reads.inputs))} -> y: {bracket(shape)}, "
                f"query heads before key heads",
            )
        return Words(
            "Turns queries and keys by an angle that grows with the position.",
            "y = x * cos(angle) + rotate_half(x) * sin(angle)",
            f"x: {', '.join(map(bracket, reads.inputs))} -> y: {bracket(shape)}, "
            f"query heads before key heads",
        )

    def columns(self, shape: Shape) -> Mapping[str, str]:
        heads = bracket((sum(self.num_heads), self.head_dim))
        return {"vector": f"The turned heads side by side, {heads}."}
