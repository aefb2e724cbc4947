"""The output head (`lm_head`), at the last position only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from relama.operators.base import Computation, DataTest, Kind, Reads, Shape, Words, bracket
from relama.operators.grouped_query import softcapped


@dataclass(frozen=True)
class Logits(Computation):
    """Reads the last hidden state. Its weight has a row for each token.

    Attributes:
        vocab_size: number of tokens.
        multiplier: of every logit.
        softcap: no logit is further from 0 than this; `None` for no limit.
    """

    kind = Kind.LOGITS
    macros = ("logits",)
    group = "hidden"

    vocab_size: int
    multiplier: float = 1.0
    softcap: float | None = None

    def output_shape(self, reads: Reads) -> Shape:
        (hidden,) = reads.some(1)
        weight = reads.the_weight()
        head = (self.vocab_size, *hidden)
        reads.expect("the head's shape", (weight.rows, weight.columns), head)
        return (weight.rows,)

    def words(self, reads: Reads, shape: Shape) -> Words:
        product = "weight x" + (f" * {self.multiplier}" if self.multiplier != 1 else "")
        return Words(
            "Scores every token of the vocabulary as the next one.",
            f"logit = {softcapped(product, self.softcap)}",
            f"weight: {reads.matrix}, x: {bracket(reads.inputs[0])} -> logit: {bracket(shape)}",
        )

    def columns(self, shape: Shape) -> Mapping[str, str]:
        return {
            "token_id": "The token that might come next.",
            "logit": "Its unnormalised log-probability.",
        }

    def tests(self, reads: Reads, shape: Shape) -> list[DataTest]:
        return []
