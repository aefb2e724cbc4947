"""The vectors of tokens (`nn.Embedding`), where a forward pass begins."""

from __future__ import annotations

from dataclasses import dataclass

from relama.operators.base import Computation, Kind, Reads, Shape, Words, bracket


@dataclass(frozen=True)
class Embedding(Computation):
    """Reads `step_input`, no other operator. Its weight has a row for each token.

    Attributes:
        vocab_size: number of tokens.
        multiplier: of every vector.
    """

    kind = Kind.EMBEDDING
    macros = ("embedding",)
    step_models = ("step_input",)
    group = "hidden"

    vocab_size: int
    multiplier: float = 1.0

    def output_shape(self, reads: Reads) -> Shape:
        reads.some(0)
        weight = reads.the_weight()
        reads.expect("the vocabulary", weight.rows, self.vocab_size)
        return (weight.columns,)

    def words(self, reads: Reads, shape: Shape) -> Words:
        return Words(
            "Looks up the vector of each token.",
            "x = weight[token_id]" + (f" * {self.multiplier}" if self.multiplier != 1 else ""),
            f"weight: {reads.matrix} -> x: {bracket(shape)}",
        )
