"""The example's project, built with the fixture checkpoint for its language model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from relama.checkpoint import open_checkpoint
from relama.project.writer import write_project
from tests.conftest import ROOT, TINY_LLAMA
from tests.user_project import UserProject

EXAMPLE = ROOT / "examples" / "support_tickets"
#: Tokens of a context that the example's prompts fit into.
CONTEXT = 2048


def tiny_checkpoint(directory: Path) -> Path:
    """The fixture checkpoint with a context of `CONTEXT` tokens."""
    shutil.copytree(TINY_LLAMA, directory)
    file = directory / "config.json"
    config = json.loads(file.read_text())
    file.write_text(json.dumps({**config, "max_position_embeddings": CONTEXT}))
    return directory


def example(directory: Path, kernels: Path) -> UserProject:
    """A copy of the example with four tickets and a language model that knows nothing."""
    desk = object.__new__(UserProject)
    desk.directory, desk.output = directory / "example", ""
    ignored = shutil.ignore_patterns("packages", "dbt_packages", "target", "logs", "*.duckdb*")
    shutil.copytree(EXAMPLE, desk.directory, ignore=ignored)
    checkpoint = open_checkpoint(tiny_checkpoint(directory / "checkpoint"))
    write_project(desk.directory / "packages" / "smollm2", checkpoint, kernels=kernels)
    seed = desk.directory / "seeds" / "tickets.csv"
    lines = seed.read_text().splitlines(keepends=True)
    seed.write_text("".join([lines[0], *lines[-4:]]))
    assert desk.dbt("deps"), desk.output
    return desk


def test_every_model_is_built_and_its_tests_pass(tmp_path: Path, kernels_file: Path) -> None:
    desk = example(tmp_path, kernels_file)
    assert desk.dbt("build"), desk.output
    answered = dict(desk.answered())
    models = {path.stem for path in (desk.directory / "models" / "answers").glob("*.sql")}
    assert set(answered) == models
    assert answered.pop("topic_summaries") > 0
    assert set(answered.values()) == {4}
    # The second run asks nothing.
    assert desk.dbt("build"), desk.output
    assert set(desk.answered().values()) == {0}
