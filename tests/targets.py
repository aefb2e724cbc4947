"""What the tests of every target ask: its numbers beside the oracle's."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from relama.checkpoint import open_checkpoint
from relama.checkpoint.base import Checkpoint, Tensor
from relama.project.manifest import Project
from relama.project.writer import write_project
from relama.reference import forward, greedy, log_softmax
from relama.runtime import dbt
from relama.runtime.build import build_project
from relama.runtime.load import load_weights
from relama.runtime.session import negative_log_likelihood, open_engine, top_logits
from relama.runtime.statements import compiled
from relama.targets import target_named
from tests.conftest import ROOT, quiet

PROMPT = [1, 91, 89, 75, 88, 5, 46, 79, 2, 5, 1, 71, 89, 89]
GREEDY = (0.0, 0, 1.0, 0)
SAMPLED = (0.8, 20, 0.9, 7)
#: Places at which a session is killed.
KILLS = int(os.environ.get("RELAMA_TEST_KILLS", "5"))


def make_project_on(
    target: str,
    directory: Path,
    checkpoint: Path,
    prepare: Callable[[Project], None] = lambda project: None,
    tested: bool = True,
    **options: Any,
) -> Project:
    """Writes a project for a target, loads and builds it.

    Args:
        prepare: changes what is written before it is loaded, such as the profile.
        tested: whether the data tests run, as they do in a build.
    """
    tensors = open_checkpoint(checkpoint)
    project = write_project(directory, tensors, target=target_named(target), **options)
    prepare(project)
    load_weights(project, quiet)
    if tested:
        build_project(project, again=False, on_progress=quiet)
    else:
        dbt.invoke(project.directory, ["build", "--exclude-resource-type", "test"])
    return project


def set_profile(project: Project, output: dict[str, Any]) -> None:
    """Points the project's profile at a database."""
    profile = {project.name: {"target": "dev", "outputs": {"dev": output}}}
    (project.directory / "profiles.yml").write_text(yaml.safe_dump(profile))


def all_logits(project: Project, token_ids: Sequence[int]) -> np.ndarray[Any, Any]:
    """The logits of the whole vocabulary, by token id."""
    candidates = top_logits(project, token_ids, project.config.vocab_size)
    return np.array([c.logit for c in sorted(candidates, key=lambda c: c.id)])


def continued(
    project: Project,
    count: int,
    sampling: tuple[float, int, float, int] = GREEDY,
    engine_name: str = "session",
) -> list[int]:
    """What an engine continues `PROMPT` with."""
    with open_engine(project, engine_name, sequence_id=0) as engine:
        engine.start(PROMPT, sampling)
        return [engine.step() for _ in range(count)]


def assert_equals_the_oracle(
    project: Project,
    checkpoint: Checkpoint,
    tolerance: float = 1e-4,
    tensors: Mapping[str, Tensor] | None = None,
) -> None:
    """Logits of several positions and of one, greedy tokens, and a text that is scored.

    Its 66 tokens are more than the 64 positions that are scored at once.

    Args:
        tensors: instead of the checkpoint's own.
    """
    config = checkpoint.config
    tensors = checkpoint.tensors if tensors is None else tensors
    for token_ids in (PROMPT, PROMPT[:1]):
        expected = forward(config, tensors, token_ids).logits[-1]
        assert np.abs(all_logits(project, token_ids) - expected).max() < tolerance
    assert continued(project, 6) == greedy(config, tensors, PROMPT, 6)
    token_ids = [(11 * i + i * i) % project.config.vocab_size for i in range(66)]
    logprobs = log_softmax(forward(config, tensors, token_ids, "all").logits)
    expected = -sum(float(logprobs[i, token_ids[i + 1]]) for i in range(65))
    assert negative_log_likelihood(project, token_ids) == pytest.approx(
        expected, rel=max(1e-5, tolerance / 10)
    )


def assert_in_review(project: Project, name: str) -> None:
    """The compiled step is that of a file, where a change of generated SQL is seen.

    With RELAMA_SNAPSHOT=1 it is written.
    """
    statement = compiled(project, ["step"])["step"]
    places = {name: f'"{name}"' for name in statement.tables()}
    text = statement.reading(places).sql + "\n"
    file = ROOT / "tests" / "fixtures" / "compiled" / f"{name}.sql"
    if os.environ.get("RELAMA_SNAPSHOT"):
        file.write_text(text)
    assert file.read_text() == text
