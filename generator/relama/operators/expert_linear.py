"""A linear layer of each expert of a mixture (`MixtralExperts`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from relama.operators.base import Computation, Kind, Reads, Shape, Words, bracket
from relama.operators.router import BY_EXPERT


@dataclass(frozen=True)
class ExpertLinear(Computation):
    """Multiplies with the experts that the router has chosen, and reads no others.

    Its weight has the matrices of all experts one below the other. The first input is a hidden
    state, and the second the router, whose rows are joined to it; or it has a row for each
    chosen expert already, and is alone.

    Attributes:
        num_experts: how many there are.
        num_experts_per_tok: how many of them a token is sent to.
    """

    kind = Kind.EXPERT_LINEAR
    macros = ("expert_matmul",)
    group = "mlp"

    num_experts: int
    num_experts_per_tok: int

    def output_shape(self, reads: Reads) -> Shape:
        hidden, *router = reads.some(1, 2)
        weight = reads.the_weight()
        reads.expect("the weight's row length", (weight.columns,), hidden)
        reads.expect("the weight's number of experts", weight.num_experts, self.num_experts)
        reads.expect("rows that experts do not share", weight.rows % self.num_experts, 0)
        if router:
            reads.expect("the experts of a token", router[0], (self.num_experts_per_tok,))
        return (weight.rows // self.num_experts,)

    def words(self, reads: Reads, shape: Shape) -> Words:
        hidden, weight = reads.inputs[0], bracket((self.num_experts, *shape, *reads.inputs[0]))
        return Words(
            "The linear layer of each expert that the token is sent to.",
            "y = weight[expert] x",
            f"weight: {weight}, x: {bracket(hidden)} -> y: {bracket(shape)} of each chosen expert",
        )

    def columns(self, shape: Shape) -> Mapping[str, str]:
        return {**BY_EXPERT, **super().columns(shape)}
