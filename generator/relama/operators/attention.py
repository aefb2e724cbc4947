"""Causal attention (arXiv 1706.03762, equation 1; `eager_attention_forward`)."""

from __future__ import annotations

from dataclasses import dataclass, field

from relama.operators.base import Kind, Reads, Shape, Words, bracket
from relama.operators.grouped_query import GroupedQuery


@dataclass(frozen=True)
class Attention(GroupedQuery):
    """What comes out are the heads side by side in one vector."""

    kind = Kind.ATTENTION
    macros = ("attention",)

    #: Whether there are pages of the cache beside it; see `kv_page`.
    in_pages: bool = field(default=True, kw_only=True)

    @property
    def step_models(self) -> tuple[str, ...]:  # type: ignore[override]
        return ("paged",) if self.in_pages else ()

    @property
    def state_tables(self) -> tuple[str, ...]:  # type: ignore[override]
        return ("kv_cache", "kv_pages") if self.in_pages else ("kv_cache",)

    def output_shape(self, reads: Reads) -> Shape:
        self.check(reads)
        return (self.num_attention_heads * self.head_dim,)

    def words(self, reads: Reads, shape: Shape) -> Words:
        return Words(
            f"Weighs the values of {self.seen} by how well their keys fit the query.",
            f"y = {self.softmax} . value",
            f"query: {self.query} -> y: {bracket(shape)}",
        )
