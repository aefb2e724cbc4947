"""Keys that have a part in common (DeepSeek-V2, arXiv 2405.04434, section 2.1.3)."""

from __future__ import annotations

from dataclasses import dataclass

from relama.operators.base import Computation, Kind, Reads, Shape, Words, bracket


@dataclass(frozen=True)
class SharedKey(Computation):
    """Reads the heads' own parts, at the front of a vector, and the part that they share.

    What comes out are the heads side by side. Each half of a head begins with half of what is
    shared: rotary embedding pairs i with i + head_dim / 2, and turns the first of these pairs.

    Attributes:
        num_heads: how many heads.
        head_dim: width of a head, both parts together.
        shared_dim: width of what they share.
    """

    kind = Kind.SHARED_KEY
    macros = ("shared_key",)
    group = "attention"

    num_heads: int
    head_dim: int
    shared_dim: int

    def output_shape(self, reads: Reads) -> Shape:
        own, shared = reads.some(2)
        width = self.num_heads * (self.head_dim - self.shared_dim)
        if len(own) != 1 or own[0] < width:
            reads.expect("the shape of the heads' own parts", own, f"at least ({width},)")
        reads.expect("the shape of the shared part", shared, (self.shared_dim,))
        return (self.num_heads * self.head_dim,)

    def words(self, reads: Reads, shape: Shape) -> Words:
        own = bracket((self.num_heads, self.head_dim - self.shared_dim))
        return Words(
            "Puts the part of the keys that all heads share beside the part of each.",
            "y[head] = [shared_1, own_1[head], shared_2, own_2[head]], of halves",
            f"own: {own}, shared: [{self.shared_dim}] -> y: {bracket(shape)}",
        )
