"""Our hidden states beside the numpy reference's, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from relama.architectures import build_graph
from relama.checkpoint import Checkpoint
from relama.errors import InputError
from relama.project.manifest import Project
from relama.reference import forward
from relama.runtime.session import scratch
from relama.runtime.statements import compiled


@dataclass(frozen=True)
class Difference:
    """How far a model's output is from the reference.

    Attributes:
        model: the dbt model.
        largest: the largest absolute difference of an element.
        relative: that difference over the largest element of the reference.
        norm: the L2 norm of the last position's vector, ours.
    """

    model: str
    largest: float
    relative: float
    norm: float


def first_over(differences: Sequence[Difference], tolerance: float) -> str | None:
    """The first model that is further from the reference than `tolerance`, relatively."""
    # `not <=` so that NaN counts as a difference.
    return next((d.model for d in differences if not d.relative <= tolerance), None)


def compare(project: Project, checkpoint: Checkpoint, token_ids: Sequence[int]) -> list[Difference]:
    """Compares the hidden state after the embedding, every layer and the final norm.

    Raises:
        InputError: the checkpoint is not of the project's shape, or the prompt is empty.
        CheckpointError: the checkpoint's tensors do not fit its config.
    """
    config = build_graph(checkpoint).config
    if config != project.config:
        raise InputError(
            f"{checkpoint.path} is not the checkpoint that {project.directory} was made from: "
            "their configs differ."
        )
    statement = compiled(project, ["hidden_states"])["hidden_states"]
    with project.target.connect(project) as connection, scratch(project, connection) as state:
        state.set_tokens(token_ids)
        rows = state.rows(statement, "model, vector", "order by place, position")
    reference = forward(checkpoint.config, checkpoint.tensors, token_ids)
    expected = [*reference.hidden_states, reference.final_norm]
    differences = []
    for name, theirs in zip(project.graph.inputs["hidden_states"], expected, strict=True):
        ours = np.array([vector for model, vector in rows if model == name], dtype=np.float64)
        largest = float(np.abs(ours - theirs).max())
        scale = float(np.abs(theirs).max()) or 1.0
        norm = float(np.linalg.norm(ours[-1]))
        differences.append(Difference(name, largest, largest / scale, norm))
    return differences
