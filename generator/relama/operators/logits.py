"""The output head (`lm_head`), at the last position only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from relama.operators.base import Computation, DataTest, Kind, Reads, Shape, Words, bracket


@dataclass(frozen=True)
class Logits(Computation):
    """Reads the last hidden state. Its weight has a row for each token.

    Attributes:
        vocab_size: number of tokens.
    """

    kind = Kind.LOGITS
    macros = ("logits",)
    group = "hidden"

    vocab_size: int

    def output_shape(self, reads: Reads) -> Shape:
        (hidden,) = reads.some(1)
        weight = reads.the_weight()
        head = (self.vocab_size, *hidden)
        reads.expect("the head's shape", (weight.rows, weight.columns), head)
        return (weight.rows,)

    def words(self, reads: Reads, shape: Shape) -> Words:
        return Words(
            "Scores every token of the vocabulary as the next one.",
            "logit = weight x",
            f"weight: {reads.matrix}, x: {bracket(reads.inputs[0])} -> logit: {bracket(shape)}",
        )

    def columns(self, shape: Shape) -> Mapping[str, str]:
        return {
            "token_id": "The token that might come next.",
            "logit": "Its unnormalised log-probability.",
        }

    def tests(self, reads: Reads, shape: Shape) -> list[DataTest]:
        return []
