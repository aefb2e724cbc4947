"""The residual connection where it is an operator of its own (`GraniteDecoderLayer`)."""

from __future__ import annotations

from dataclasses import dataclass

from relama.operators.base import Computation, Group, Kind, Reads, Shape, Words, bracket


@dataclass(frozen=True)
class Residual(Computation):
    """Reads what a block has computed, and the residual stream that it is added to.

    Where nothing stands between the block's last linear layer and the sum, `Linear` adds. A third
    input, one number, is a gate in front of the block (`Qwen2MoeSparseMoeBlock`).

    Attributes:
        group: attention or MLP, whichever it ends.
        multiplier: of what the block has computed.
    """

    kind = Kind.RESIDUAL
    macros = ("residual",)

    group: Group
    multiplier: float = 1.0

    def output_shape(self, reads: Reads) -> Shape:
        hidden, residual, *gate = reads.some(2, 3)
        reads.expect("the residual's shape", residual, hidden)
        if gate:
            reads.expect("the gate's shape", gate[0], (1,))
        return hidden

    def words(self, reads: Reads, shape: Shape) -> Words:
        times = f" * {self.multiplier}" if self.multiplier != 1 else ""
        gated = "sigmoid(gate) * " if len(reads.inputs) == 3 else ""
        return Words(
            "The residual connection.",
            f"y = {gated}x{times} + residual",
            f"x, residual: {bracket(reads.inputs[0])} -> y: {bracket(shape)}",
        )
