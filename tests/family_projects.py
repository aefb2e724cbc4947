"""Projects of the tiny models of families, and what is asked of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from relama.checkpoint import open_checkpoint
from relama.checkpoint.base import Checkpoint
from relama.project.manifest import Project
from relama.project.writer import write_project
from relama.reference import forward, log_softmax
from relama.runtime import dbt
from relama.runtime.session import open_engine
from tests.families import expected
from tests.targets import GREEDY

STEPS = 12


def built(directory: Path, checkpoint: Path, **options: object) -> Project:
    """A project of a checkpoint; the tests of its tables are those of every project."""
    project = write_project(directory, open_checkpoint(checkpoint), **options)  # type: ignore[arg-type]
    dbt.invoke(project.directory, ["build", "--exclude-resource-type", "test"])
    return project


def prompt(name: str, project: Project) -> list[int]:
    """What transformers was given, as far as the context reaches with some steps more."""
    ids: list[int] = expected(name)["ids"]
    return ids[: project.config.max_position_embeddings - STEPS]


def random_text(project: Project) -> list[int]:
    """Tokens across two ends of pages, as far as the context reaches."""
    generator = np.random.default_rng(16)
    count = min(150, project.config.max_position_embeddings)
    ids: list[int] = generator.integers(0, project.config.vocab_size, count).tolist()
    return ids


def greedy_ids(
    project: Project,
    ids: Sequence[int],
    steps: int = STEPS,
    engine_name: str = "session",
    memory_limit: int | None = None,
) -> list[int]:
    """What an engine continues a prompt with."""
    with open_engine(project, engine_name, memory_limit, sequence_id=0) as engine:
        engine.start(ids, GREEDY)
        return [engine.step() for _ in range(steps)]


def read_one_by_one(project: Project, ids: Sequence[int], steps: int = STEPS) -> list[int]:
    """The same, where each token of the prompt was read by a step of its own."""
    with open_engine(project, "session", sequence_id=0) as engine:
        for end in range(1, len(ids) + 1):
            engine.start(ids[:end], GREEDY)
            first = engine.step()
        return [first, *(engine.step() for _ in range(steps - 1))]


def logprob(checkpoint: Checkpoint, ids: Sequence[int], then: Sequence[int]) -> float:
    """The log-likelihood of tokens after others, by the oracle."""
    both = [*ids, *then]
    logits = forward(checkpoint.config, checkpoint.tensors, both, "all").logits
    logprobs = log_softmax(logits)
    return sum(float(logprobs[i - 1, both[i]]) for i in range(len(ids), len(both)))
