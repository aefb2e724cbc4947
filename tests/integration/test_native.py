"""Projects whose arithmetic is native functions: the same numbers, and clear words without them."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from relama import kernels
from relama.checkpoint import Tensor, open_checkpoint
from relama.cli import main
from relama.errors import ProjectError
from relama.project.manifest import Project, load_project
from relama.reference import forward, greedy, log_softmax
from relama.runtime import dbt
from relama.runtime.database import kernels_of, open_database
from relama.runtime.session import negative_log_likelihood, open_engine, top_logits
from relama.runtime.statements import compiled
from tests.conftest import TINY_LLAMA, make_project
from tests.stored import stored_tensors
from tests.targets import GREEDY, PROMPT, all_logits

CONFIG = open_checkpoint(TINY_LLAMA).config
LONG = [(11 * i + i * i) % 101 for i in range(150)]


@pytest.fixture(scope="module", params=["float32", "int8", "int4", "int8 in blocks"])
def native(
    request: pytest.FixtureRequest, kernels_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Project]:
    """The fixture checkpoint in each storage; to be copied, not changed.

    Its matrices have one block where nothing else is said: larger ones have several.
    """
    directory = tmp_path_factory.mktemp("native") / "tiny"
    storage, _, in_blocks = request.param.partition(" ")
    with pytest.MonkeyPatch.context() as patched:
        if in_blocks:
            patched.setattr(importlib.import_module("relama.passes.cut_blocks"), "ONE_BLOCK", 0)
        yield make_project(directory, TINY_LLAMA, storage=storage, kernels=kernels_file)


def test_no_operator_is_left_in_sql(native: Project) -> None:
    assert kernels_of(native)
    for decode in (False, True):
        sql = compiled(native, ["step"], decode=decode)["step"].sql
        for name in ("matmul", "rms_norm", "rotary_embedding", "swiglu", "attention", "add"):
            assert f"relama_{name}(" in sql
        assert "relama_inner_product(" in sql
        assert "list_inner_product" not in sql and "array_inner_product" not in sql


def test_numbers_are_those_of_the_oracle(native: Project) -> None:
    """On the stored weights: products with rounded weights are not rounded themselves."""
    tensors = stored(native)
    for token_ids in (PROMPT, PROMPT[:1], LONG):
        expected = forward(CONFIG, tensors, token_ids).logits[-1]
        assert np.abs(all_logits(native, token_ids) - expected).max() < 1e-4
    logprobs = log_softmax(forward(CONFIG, tensors, LONG, "all").logits)
    expected = -sum(float(logprobs[i, LONG[i + 1]]) for i in range(len(LONG) - 1))
    assert negative_log_likelihood(native, LONG) == pytest.approx(expected, rel=1e-5)


def test_greedy_ids_are_those_of_the_oracle(
    native: Project, copy_of: Callable[[Project], Project]
) -> None:
    """70 tokens after 14; the texts for many tokens and for one."""
    ids = greedy_ids(copy_of(native), 70)
    assert ids == greedy(CONFIG, stored(native), PROMPT, 70)


def stored(project: Project) -> Mapping[str, Tensor]:
    checkpoint = open_checkpoint(TINY_LLAMA)
    storage = storage_of(project)
    return (
        checkpoint.tensors if storage == "float32" else stored_tensors(project, checkpoint, storage)
    )


def storage_of(project: Project) -> str:
    return str(json.loads((project.directory / "relama.json").read_text())["storage"])


def test_engines_give_identical_ids(native: Project, copy_of: Callable[[Project], Project]) -> None:
    project = copy_of(native)
    ids = []
    for name in ("session", "dbt"):
        with open_engine(project, name, sequence_id=0) as engine:
            engine.start(PROMPT, GREEDY)
            ids.append([engine.step() for _ in range(2)])
    assert ids[0] == ids[1]


def test_activations_as_tables(native: Project, copy_of: Callable[[Project], Project]) -> None:
    """Every activation of a step by dbt, with its tests, in native functions."""
    project = copy_of(native)
    variables = "{relama_trace: true}"
    dbt.invoke(project.directory, ["build", "--select", "tag:step", "--vars", variables])
    with open_database(project) as connection:
        ((count,),) = connection.execute(
            "from (select count(*) from layer_01__attention)"
        ).fetchall()
    assert count == 1


@pytest.mark.parametrize("native", ["int8"], indirect=True)
def test_a_project_without_its_profile_computes_in_sql(
    native: Project, copy_of: Callable[[Project], Project]
) -> None:
    """What a session left with kernels, it goes on with in SQL, and the other way round."""
    project = copy_of(native)
    expected = greedy_ids(project, 8)
    profile = project.directory / "profiles.yml"
    text = profile.read_text()
    with open_engine(project, "session", sequence_id=0) as engine:
        engine.start(PROMPT, GREEDY)
        ids = [engine.step() for _ in range(4)]
    profile.write_text(text.replace("allow_unsigned_extensions: true", ""))
    assert kernels_of(project) is None
    arguments = ["logits", str(project.directory), "dbt"]
    assert "Warning: arithmetic is SQL" in CliRunner().invoke(main, arguments).stderr
    with open_engine(project, "session", sequence_id=0) as engine:
        engine.start([*PROMPT, *ids], GREEDY)
        ids += [engine.step() for _ in range(2)]
    profile.write_text(text)
    assert CliRunner().invoke(main, arguments).stderr == ""
    with open_engine(project, "session", sequence_id=0) as engine:
        engine.start([*PROMPT, *ids], GREEDY)
        ids += [engine.step() for _ in range(2)]
    assert ids == expected


def greedy_ids(project: Project, count: int) -> list[int]:
    with open_engine(project, "session", sequence_id=1) as engine:
        engine.start(PROMPT, GREEDY)
        return [engine.step() for _ in range(count)]


@pytest.mark.parametrize("content", [b"", b"not an extension", None], ids=["empty", "text", "none"])
def test_a_kernel_file_that_cannot_be_loaded_is_one_sentence(
    content: bytes | None, native: Project, copy_of: Callable[[Project], Project]
) -> None:
    project = copy_of(native)
    file = kernels_of(project)
    assert file
    file.unlink()
    if content is not None:
        file.write_bytes(content)
    before = (project.directory / "relama.duckdb").read_bytes()
    with pytest.raises(ProjectError, match=r"native kernels in .* cannot be loaded") as raised:
        top_logits(project, PROMPT, 1)
    assert "\n" not in str(raised.value) and "relama_kernels" in str(raised.value)
    assert "relama new --kernels native" in str(raised.value)
    assert (project.directory / "relama.duckdb").read_bytes() == before


def test_the_command_line_chooses(kernels_file: Path, tmp_path: Path) -> None:
    run = CliRunner().invoke
    for choice, expected in (("auto", True), ("native", True), ("sql", False)):
        directory = tmp_path / f"with_{choice}"
        arguments = ["new", str(directory), "--model", str(TINY_LLAMA), "--kernels", choice]
        assert run(main, arguments).exit_code == 0
        assert (kernels_of(load_project(directory)) is not None) == expected
        assert (directory / "relama" / "kernels").is_dir() == expected


def test_native_kernels_that_are_not_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "path", lambda: None)
    arguments = ["new", str(tmp_path / "new"), "--model", str(TINY_LLAMA), "--kernels"]
    failed = CliRunner().invoke(main, [*arguments, "native"])
    assert failed.exit_code == 1 and "python -m relama.kernels.build" in failed.output
    assert not (tmp_path / "new").exists()
    written = CliRunner().invoke(main, [*arguments, "auto"])
    assert written.exit_code == 0 and "Warning: The native kernels are not built" in written.output
    assert kernels_of(load_project(tmp_path / "new")) is None
