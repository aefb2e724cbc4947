"""What attention and its weights share: query heads in groups (arXiv 2305.13245)."""

from __future__ import annotations

from dataclasses import dataclass

from relama.operators.base import Computation, Reads, bracket


@dataclass(frozen=True)
class GroupedQuery(Computation):
    """Reads the rotated heads, whose first ones are the queries, and a step's keys and values.

    The keys and values of earlier steps it finds in the cache of its layer.

    Attributes:
        num_attention_heads: query heads.
        num_key_value_heads: heads of keys and values, each shared by a group of query heads.
        head_dim: width of a head.
        scaling: what `query . key` is multiplied by; `None` for `1 / sqrt(head_dim)`.
    """

    group = "attention"

    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    scaling: float | None = None

    def check(self, reads: Reads) -> None:
        """Raises `GraphError` where the inputs are not such heads."""
        rotated, new = reads.some(2)
        heads = self.num_attention_heads + self.num_key_value_heads
        reads.expect("the rotated heads' width", rotated, (heads * self.head_dim,))
        reads.expect("the keys' shape", new, (self.num_key_value_heads, self.head_dim))
        groups = self.num_attention_heads % self.num_key_value_heads
        reads.expect("what no group of query heads holds", groups, 0)

    @property
    def softmax(self) -> str:
        """The formula of the weights."""
        scaling = f"/ sqrt({self.head_dim})" if self.scaling is None else f"* {self.scaling}"
        return f"softmax(query . key {scaling})"

    @property
    def query(self) -> str:
        """The shape of the queries."""
        return bracket((self.num_attention_heads, self.head_dim))
