"""What can be done with a project, for each family: dbt's engine, traces, limits, commands.

Prompts are longer than every window.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from relama.architectures import build_graph
from relama.checkpoint import open_checkpoint
from relama.cli import main
from relama.errors import InputError
from relama.graph import Graph
from relama.operators import AttentionWeights
from relama.project.manifest import Project
from relama.reference import Reference, forward, greedy, log_softmax
from relama.runtime import dbt
from relama.runtime.database import open_database
from relama.runtime.memory.residency import Plan
from relama.runtime.session import Session, negative_log_likelihood, open_engine
from tests.families import EACH, expected, some, write_family, write_wide_family
from tests.family_projects import built, greedy_ids, prompt, random_text
from tests.targets import GREEDY

#: Norms of heads and behind blocks, a window, and two tables of angles; the others are slow.
FIRST = {"gemma3"}
#: More than any process of tests has.
LIMIT = 4_000_000_000


@pytest.mark.parametrize("name", some(FIRST, EACH))
def test_plain_dbt_and_traces(name: str, tmp_path: Path) -> None:
    """dbt computes each operator as a table, and tests it."""
    directory = write_family(tmp_path / "checkpoint", name)
    project = built(tmp_path / "project", directory, trace=True)
    checkpoint = open_checkpoint(directory)
    ids = prompt(name, project)
    right = greedy(checkpoint.config, checkpoint.tensors, ids, 2)
    with open_engine(project, "dbt", sequence_id=0) as engine:
        engine.start(ids, GREEDY)
        assert engine.step() == right[0]
        assert_activations(project, forward(checkpoint.config, checkpoint.tensors, ids))
        assert_windows(project, build_graph(checkpoint), len(ids))
        selection = ["--select", "path:models/layers"]
        if project.config.rms_norm_eps > 1e-3:
            # It shows in the mean square of a small vector, which that test does not know.
            selection += ["--exclude", "test_name:unit_mean_square"]
        dbt.invoke(project.directory, ["test", *selection])
        assert engine.step() == right[1]
    assert greedy_ids(project, ids, 2) == right


def assert_activations(project: Project, reference: Reference) -> None:
    """The tables that a step has filled, beside the oracle's states."""
    right = [*reference.hidden_states, reference.final_norm]
    with open_database(project) as connection:
        for name, states in zip(project.graph.inputs["hidden_states"], right, strict=True):
            rows = connection.execute(f"select vector from {name} order by position").fetchall()
            found = np.array([row[0] for row in rows])
            assert np.abs(found - states).max() < 1e-4 * np.abs(states).max(), name


def assert_windows(project: Project, graph: Graph, count: int) -> None:
    """Within a window, positions have weights, and outside of it none has."""
    windows = {
        name: operator.computes.sliding_window
        for name, operator in graph.operators.items()
        if isinstance(operator.computes, AttentionWeights)
    }
    assert len(windows) == project.config.num_hidden_layers
    offsets = np.arange(count)[:, None] - np.arange(count)
    with open_database(project) as connection:
        for name, window in windows.items():
            weights = np.zeros((project.config.num_attention_heads, count, count))
            for position, head, vector in connection.execute(
                f"select position, head, vector from {name}"
            ).fetchall():
                weights[head, position, : len(vector)] = vector
            seen = (offsets >= 0) & (offsets < (window or count))
            assert not weights[:, ~seen].any()
            assert np.count_nonzero(weights[:, seen]) > 0.5 * weights[:, seen].size


@pytest.mark.parametrize("name", some({"phi3"}, EACH))
def test_limits_and_commands(name: str, tmp_path: Path) -> None:
    directory = write_family(tmp_path / "checkpoint", name)
    project = built(tmp_path / "project", directory)
    checkpoint = open_checkpoint(directory)
    ids = prompt(name, project)
    right = greedy(checkpoint.config, checkpoint.tensors, ids, 6)
    assert greedy_ids(project, ids, 6, memory_limit=LIMIT) == right
    text = random_text(project)
    limited = negative_log_likelihood(project, text, memory_limit=LIMIT)
    logprobs = log_softmax(forward(checkpoint.config, checkpoint.tensors, text, "all").logits)
    exact = -float(logprobs[np.arange(len(text) - 1), text[1:]].sum())
    assert limited == pytest.approx(exact, rel=1e-4)

    words = expected(name)["prompt"][: len(ids)]
    compared = command("compare", project, "--model", str(directory), "--prompt", words)
    assert compared["first_over_tolerance"] is None
    best = command("logits", project, words, "--top", "10")["top"]
    logits = forward(checkpoint.config, checkpoint.tensors, ids).logits[-1]
    assert [each["id"] for each in best] == np.argsort(-logits)[:10].tolist()
    (tmp_path / "text").write_text(words)
    assert command("perplexity", project, str(tmp_path / "text"))["tokens"] == len(ids)
    generated = command("generate", project, words, "--max-tokens", "6", "--temperature", "0")
    assert generated["ids"] == right[: len(generated["ids"])]
    plan = command("plan", project, "--memory-limit", "4GB")
    assert not plan["streamed"]


def command(name: str, project: Project, *arguments: str) -> dict[str, Any]:
    """What a command prints as JSON."""
    result = CliRunner().invoke(main, [name, str(project.directory), *arguments, "--json"])
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("kernels", [True, False], ids=["native", "sql"])
@pytest.mark.parametrize("name", EACH)
def test_streamed_weights(name: str, kernels: bool, kernels_file: Path, tmp_path: Path) -> None:
    """Matrices that are large enough to be read from disk for every token."""
    directory = write_wide_family(tmp_path / "checkpoint", name, times=2000)
    project = built(tmp_path / "project", directory, kernels=kernels_file if kernels else None)
    ids = prompt(name, project)
    checkpoint = open_checkpoint(directory)
    right = greedy(checkpoint.config, checkpoint.tensors, ids, 4)
    with pytest.raises(InputError, match="the smallest that works is") as raised:
        greedy_ids(project, ids, 1, memory_limit=1_000_000)
    (least,) = re.findall(r"that works is ([\d,.]+) MB", str(raised.value))
    # The process of the test grows between the two.
    limit = int(float(least.replace(",", "")) * 1e6) + 3_000_000
    with open_engine(project, "session", limit, sequence_id=0) as engine:
        assert isinstance(engine, Session)
        plan = engine._weights.plan
        assert isinstance(plan, Plan)
        assert plan.streamed
        engine.start(ids, GREEDY)
        assert [engine.step() for _ in range(4)] == right
