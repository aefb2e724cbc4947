"""The router of a mixture of experts: which experts a token is sent to (`MixtralTopKRouter`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from relama.errors import GraphError
from relama.operators.base import Computation, DataTest, Kind, Reads, Shape, Words, bracket

#: What the relation of a router has a row for.
EXPERT = "The expert, from 0."


@dataclass(frozen=True)
class Router(Computation):
    """Reads the router's logits, one of each expert, and gives a row for each chosen expert.

    Scores are a softmax over all experts (arXiv 1701.06538, equation 2, without noise); the
    highest are chosen, the lowest number where they are equal.

    Attributes:
        num_experts: how many there are.
        num_experts_per_tok: how many of them a token is sent to.
        norm_topk_prob: whether the weights of the chosen ones are to sum to 1.
    """

    kind = Kind.ROUTER
    macros = ("router",)
    group = "mlp"

    num_experts: int
    num_experts_per_tok: int
    norm_topk_prob: bool = False

    def output_shape(self, reads: Reads) -> Shape:
        (logits,) = reads.some(1)
        reads.expect("the number of logits", logits, (self.num_experts,))
        if not 1 <= self.num_experts_per_tok <= self.num_experts:
            raise GraphError(
                f"'{reads.operator}' ({self.kind}): {self.num_experts_per_tok} experts are to be "
                f"chosen of {self.num_experts}."
            )
        return (self.num_experts_per_tok,)

    def words(self, reads: Reads, shape: Shape) -> Words:
        share = " / sum of chosen" if self.norm_topk_prob else ""
        return Words(
            f"Chooses {self.num_experts_per_tok} of {self.num_experts} experts for each token.",
            f"weight = softmax(logits)[expert]{share}",
            f"logits: {bracket(reads.inputs[0])} -> weight: {bracket(shape)}",
        )

    def columns(self, shape: Shape) -> Mapping[str, str]:
        return {"expert_id": EXPERT, "weight": "What the expert's output is multiplied by."}

    def tests(self, reads: Reads, shape: Shape) -> list[DataTest]:
        return []
