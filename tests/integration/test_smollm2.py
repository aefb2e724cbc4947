"""The real model against the reference values of transformers, float32, natively and in SQL."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from relama.checkpoint import open_checkpoint
from relama.project.manifest import Project, load_project
from relama.runtime.compare import compare
from relama.runtime.database import kernels_of
from relama.runtime.session import Settings, generate, open_engine, top_logits
from relama.runtime.tokenizer import ProjectTokenizer

REFERENCE = json.loads(
    (Path(__file__).parent.parent / "fixtures/reference/smollm2_135m.json").read_text()
)["prompts"]


@pytest.mark.parametrize("name", REFERENCE)
def test_prompt_ids_equal(smollm2_project: Project, name: str) -> None:
    tokenizer = ProjectTokenizer(smollm2_project.directory)
    assert tokenizer.encode(REFERENCE[name]["prompt"]) == REFERENCE[name]["ids"]


@pytest.fixture(scope="module", params=["native", "sql"])
def project(
    request: pytest.FixtureRequest,
    smollm2_project: Project,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Project]:
    """The project as it computes with its kernels, and a copy that computes without."""
    if request.param == "native":
        assert kernels_of(smollm2_project)
        yield smollm2_project
        return
    directory = tmp_path_factory.mktemp("sql") / smollm2_project.name
    shutil.copytree(smollm2_project.directory, directory, symlinks=True)
    settings = directory / "dbt_project.yml"
    text = settings.read_text()
    settings.write_text(text.replace("relama_kernels: true", "relama_kernels: false"))
    project = load_project(directory)
    assert not kernels_of(project)
    yield project
    shutil.rmtree(directory)


@pytest.mark.parametrize(
    ("project", "name"),
    [*(("native", name) for name in REFERENCE), ("sql", "france")],
    indirect=["project"],
)
def test_every_greedy_id_equals_the_reference(project: Project, name: str) -> None:
    assert_every_greedy_id_equals_the_reference(project, name)


def assert_every_greedy_id_equals_the_reference(project: Project, name: str) -> None:
    expected = REFERENCE[name]
    tokenizer = ProjectTokenizer(project.directory)
    settings = Settings(max_new_tokens=len(expected["greedy"]))
    with open_engine(project, "session", sequence_id=0) as engine:
        generation = generate(project, engine, tokenizer, expected["ids"], settings)
    assert generation.ids == expected["greedy"]
    stopped = expected["greedy"][-1] in tokenizer.end_token_ids
    assert generation.finish_reason == ("stop" if stopped else "length")


@pytest.mark.parametrize(
    ("project", "name"),
    [*(("native", name) for name in REFERENCE), ("sql", "france")],
    indirect=["project"],
)
def test_top_ten_logits_equal_the_reference(project: Project, name: str) -> None:
    assert_top_ten_logits_equal_the_reference(project, name)


def assert_top_ten_logits_equal_the_reference(project: Project, name: str) -> None:
    expected = REFERENCE[name]
    candidates = top_logits(project, expected["ids"], 10)
    assert [candidate.id for candidate in candidates] == expected["top_ids"]
    assert [candidate.logit for candidate in candidates] == pytest.approx(
        expected["top_logits"], abs=2e-3, rel=0
    )


def test_hidden_state_norms_equal_the_reference(project: Project, smollm2_gguf: Path) -> None:
    expected = REFERENCE["france"]
    differences = compare(project, open_checkpoint(smollm2_gguf), expected["ids"])
    # transformers gives the last layer's state after the final norm only.
    norms = [d.norm for d in differences[:-2]] + [differences[-1].norm]
    assert norms == pytest.approx(expected["hidden_norms"], rel=1e-3)
    assert max(d.relative for d in differences) < 1e-3
