"""A linear layer (`nn.Linear`), and the residual connection behind it."""

from __future__ import annotations

from dataclasses import dataclass

from relama.operators.base import Computation, Group, Kind, Reads, Shape, Words, bracket


@dataclass(frozen=True)
class Linear(Computation):
    """Reads a hidden state and, where there is a second input, adds that to the product.

    The second input is the residual stream: `o_proj` and `down_proj` have one. The sum is
    part of the operator because it then needs no join of its own. Whether there is a bias
    is up to the weight. A matrix in blocks (`passes/cut_blocks.py`) is multiplied by the
    macro `block_matmul`, one of rows by `matmul`.

    Attributes:
        group: attention or MLP, whichever it is part of.
    """

    kind = Kind.LINEAR
    macros = ("matmul", "block_matmul")

    group: Group

    def output_shape(self, reads: Reads) -> Shape:
        hidden, *residual = reads.some(1, 2)
        weight = reads.the_weight()
        reads.expect("the weight's row length", (weight.columns,), hidden)
        if residual:
            reads.expect("the residual's shape", residual[0], (weight.rows,))
        return (weight.rows,)

    def words(self, reads: Reads, shape: Shape) -> Words:
        bias = " + bias" if reads.the_weight().has_bias else ""
        residual = " + residual" if len(reads.inputs) == 2 else ""
        return Words(
            "Linear layer, with the residual connection." if residual else "Linear layer.",
            f"y = weight x{bias}{residual}",
            f"weight: {reads.matrix}, x: {bracket(reads.inputs[0])} -> y: {bracket(shape)}",
        )
