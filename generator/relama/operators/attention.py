"""Causal attention (arXiv 1706.03762, equation 1; `eager_attention_forward`)."""

from __future__ import annotations

from dataclasses import dataclass

from relama.operators.base import Kind, Reads, Shape, Words, bracket
from relama.operators.grouped_query import GroupedQuery


@dataclass(frozen=True)
class Attention(GroupedQuery):
    """What comes out are the heads side by side in one vector."""

    kind = Kind.ATTENTION
    macros = ("attention",)
    step_models = ("paged",)
    state_tables = ("kv_cache", "kv_pages")

    def output_shape(self, reads: Reads) -> Shape:
        self.check(reads)
        return (self.num_attention_heads * self.head_dim,)

    def words(self, reads: Reads, shape: Shape) -> Words:
        return Words(
            "Weighs the values of all positions by how well their keys fit the query.",
            f"y = {self.softmax} . value",
            f"query: {self.query} -> y: {bracket(shape)}",
        )
