"""How much each position attends to each other one, as a table for people to read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from relama.operators.base import TRACED, DataTest, Kind, Reads, Shape, Words
from relama.operators.grouped_query import GroupedQuery


@dataclass(frozen=True)
class AttentionWeights(GroupedQuery):
    """A leaf: `attention` computes the weights for itself, page by page."""

    kind = Kind.ATTENTION_WEIGHTS
    macros = ("attention_weights",)
    state_tables = ("kv_cache",)
    only_traced = True

    def output_shape(self, reads: Reads) -> Shape:
        self.check(reads)
        return (self.num_attention_heads,)

    def words(self, reads: Reads, shape: Shape) -> Words:
        return Words(
            f"How much each head attends to each position, to {self.seen} alone.",
            f"weight = {self.softmax}",
            f"query: {self.query} -> weight: [{self.num_attention_heads}, positions]",
        )

    def columns(self, shape: Shape) -> Mapping[str, str]:
        return {
            "head": "The query head.",
            "vector": "One weight per position, in order; they sum to 1.",
        }

    def tests(self, reads: Reads, shape: Shape) -> list[DataTest]:
        return [{"relama.sums_to_one": {"config": TRACED}}]
