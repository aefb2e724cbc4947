"""The router of a mixture of experts: which experts a token is sent to (`MixtralTopKRouter`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from relama.errors import GraphError
from relama.operators.base import Computation, DataTest, Kind, Reads, Shape, Words, bracket

#: What the rows of chosen experts have beside sequence and position, from the router on.
BY_EXPERT = {
    "expert_id": "The expert, from 0.",
    "weight": "What the expert's output is multiplied by in the sum.",
}


@dataclass(frozen=True)
class Router(Computation):
    """Reads the router's logits, one of each expert, and gives a row for each chosen expert.

    Scores are a softmax over all experts (arXiv 1701.06538, equation 2, without noise), or a
    sigmoid of each; the highest are chosen, the lowest number where they are equal. A weight, if
    there is one, is added to the scores that experts are chosen by (`e_score_correction_bias`).

    Attributes:
        num_experts: how many there are.
        num_experts_per_tok: how many of them a token is sent to.
        norm_topk_prob: whether the weights of the chosen ones are to sum to 1, before `scaling`.
        scoring_func: how logits become scores.
        n_group: into how many groups of neighbours the experts are cut.
        topk_group: from how many of the groups experts are chosen; `None` for all.
        group_score_of: how many of its best experts a group is judged by, by their sum.
        scaling: what the weights are multiplied by.
    """

    kind = Kind.ROUTER
    macros = ("router",)
    group = "mlp"

    num_experts: int
    num_experts_per_tok: int
    norm_topk_prob: bool = False
    scoring_func: Literal["softmax", "sigmoid"] = "softmax"
    n_group: int = 1
    topk_group: int | None = None
    group_score_of: int = 1
    scaling: float = 1.0

    def output_shape(self, reads: Reads) -> Shape:
        (logits,) = reads.some(1)
        reads.expect("the number of logits", logits, (self.num_experts,))
        weight = reads.weight
        if weight is not None:
            shape = weight.rows, weight.columns
            reads.expect("the correction's shape", shape, (1, self.num_experts))
        reads.expect("what no group holds of the experts", self.num_experts % self.n_group, 0)
        size = self.num_experts // self.n_group
        of = size * (self.topk_group or self.n_group)
        if not 1 <= self.num_experts_per_tok <= of <= self.num_experts:
            raise GraphError(
                f"'{reads.operator}' ({self.kind}): {self.num_experts_per_tok} experts are to be "
                f"chosen of {of}."
            )
        return (self.num_experts_per_tok,)

    def words(self, reads: Reads, shape: Shape) -> Words:
        share = " / sum of chosen" if self.norm_topk_prob else ""
        scaling = f" * {self.scaling}" if self.scaling != 1 else ""
        groups = f" from {self.topk_group} of {self.n_group} groups" if self.topk_group else ""
        correction = ", by their scores and a correction" if reads.weight else ""
        return Words(
            f"Chooses {self.num_experts_per_tok} of {self.num_experts} experts for each token"
            f"{groups}{correction}.",
            f"weight = {self.scoring_func}(logits)[expert]{share}{scaling}",
            f"logits: {bracket(reads.inputs[0])} -> weight: {bracket(shape)}",
        )

    def columns(self, shape: Shape) -> Mapping[str, str]:
        return BY_EXPERT

    def tests(self, reads: Reads, shape: Shape) -> list[DataTest]:
        return []
