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
        softcap: no score is further from 0 than this; `None` for no limit.
        sliding_window: how many positions are attended to, the query's own the last of them;
            `None` for all up to it.
    """

    group = "attention"

    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    scaling: float | None = None
    softcap: float | None = None
    sliding_window: int | None = None

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
        return f"softmax({softcapped(f'query . key {scaling}', self.softcap)})"

    @property
    def seen(self) -> str:
        """Which positions are attended to, in words."""
        if self.sliding_window is None:
            return "all positions up to its own"
        return f"the last {self.sliding_window} positions up to its own"

    @property
    def query(self) -> str:
        """The shape of the queries."""
        return bracket((self.num_attention_heads, self.head_dim))


def softcapped(score: str, softcap: float | None) -> str:
    """The formula of a score that is kept within a limit (arXiv 2408.00118, section 2)."""
    return score if softcap is None else f"{softcap} * tanh(({score}) / {softcap})"
