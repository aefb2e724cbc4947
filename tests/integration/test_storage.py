"""Weights in fewer bits: what is stored, what is computed with it, and what the tests find."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import duckdb
import numpy as np
import pytest
from click.testing import CliRunner

from relama.checkpoint import open_checkpoint
from relama.cli import main
from relama.errors import ProjectError
from relama.project.manifest import Project
from relama.reference import forward, greedy
from relama.runtime import dbt
from relama.runtime.database import open_database
from relama.runtime.session import open_engine, top_logits
from tests.conftest import TINY_LLAMA, make_project
from tests.stored import stored_tensors

CONFIG = open_checkpoint(TINY_LLAMA).config
PROMPT = [1, 91, 89, 75, 88, 5, 46, 79, 2, 5, 1, 71, 89, 89]
LONG = [(7 * i) % 101 for i in range(199)]
GREEDY = (0.0, 0, 1.0, 0)


@pytest.fixture(scope="module", params=["int8", "int4"])
def storage(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def built(storage: str, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The fixture checkpoint in this storage; to be copied, not changed."""
    return make_project(tmp_path_factory.mktemp(storage) / "tiny", TINY_LLAMA, storage=storage)


def test_a_build_tests_every_quantised_matrix(built: Project) -> None:
    results = json.loads((built.directory / "target" / "run_results.json").read_text())["results"]
    if not any("quantization_error" in result["unique_id"] for result in results):
        dbt.invoke(built.directory, ["test", "--select", "tag:weights"])
        path = built.directory / "target" / "run_results.json"
        results = json.loads(path.read_text())["results"]
    status = [r["status"] for r in results if "quantization_error" in r["unique_id"]]
    # Four linear layers in each of two layers, the embedding and the output head.
    assert status == ["pass"] * 10


def test_int4_is_packed(built: Project, storage: str) -> None:
    """Codes, digits of zero points and steps: what DuckDB would store in a byte each."""
    if storage != "int4":
        pytest.skip("int8 has nothing to pack")
    for name in ("layer_00__o_proj_weight", "layer_01__gate_up_proj_weight"):
        with open_database(built) as connection:
            rows = connection.execute(
                "select segment_type, compression from pragma_storage_info(?) "
                "where segment_type in ('TINYINT', 'UTINYINT')",
                [name],
            ).fetchall()
        assert set(rows) == {("TINYINT", "BitPacking"), ("UTINYINT", "BitPacking")}


def test_logits_are_those_of_the_stored_weights(built: Project, storage: str) -> None:
    checkpoint = open_checkpoint(TINY_LLAMA)
    tensors = stored_tensors(built, checkpoint, storage)
    for token_ids in (PROMPT[:1], PROMPT, LONG):
        expected = forward(CONFIG, tensors, token_ids).logits[-1]
        candidates = top_logits(built, token_ids, built.config.vocab_size)
        logits = np.array([c.logit for c in sorted(candidates, key=lambda c: c.id)])
        assert np.abs(logits - expected).max() < 1e-3
        # The rounding is there, and it is small.
        exact = forward(CONFIG, checkpoint.tensors, token_ids).logits[-1]
        difference = np.linalg.norm(expected - exact) / np.linalg.norm(exact)
        assert 1e-4 < difference < {"int8": 0.05, "int4": 0.5}[storage]


def test_decoding_is_greedy_on_the_stored_weights(built: Project, storage: str) -> None:
    """70 tokens after 14: the first page of the cache fills up on the way."""
    tensors = stored_tensors(built, open_checkpoint(TINY_LLAMA), storage)
    with open_engine(built, "session", sequence_id=0) as engine:
        engine.start(PROMPT, GREEDY)
        ids = [engine.step() for _ in range(70)]
    assert ids == greedy(CONFIG, tensors, PROMPT, 70)


def test_without_blocks_the_result_is_equal(tmp_path: Path) -> None:
    disabled = ("cut_blocks",)
    project = make_project(
        tmp_path / "rows", TINY_LLAMA, storage="int8", disabled_passes=list(disabled)
    )
    tensors = stored_tensors(project, open_checkpoint(TINY_LLAMA), "int8", disabled)
    expected = forward(CONFIG, tensors, PROMPT).logits[-1]
    candidates = top_logits(project, PROMPT, project.config.vocab_size)
    logits = np.array([c.logit for c in sorted(candidates, key=lambda c: c.id)])
    assert np.abs(logits - expected).max() < 1e-4


CORRUPTIONS = {
    "int8": {
        "layer_01__down_proj_weight": (
            "block_0 = list_transform(block_0, lambda row, i: {vector: list_transform(row.vector, "
            "lambda code, j: cast(case when i <> 3 or j <> 5 then code when code > 0 "
            "then code - 2 else code + 2 end as tinyint)), scale: row.scale})"
        ),
        "layer_00__o_proj_weight": (
            "block_0 = list_transform(block_0, lambda row, i: "
            "{vector: row.vector, scale: cast(row.scale * 1.01 as real)})"
        ),
        "lm_head_weight": "scale = scale * 1.01 where row_id = 7",
    },
    "int4": {
        "layer_00__o_proj_weight": (
            "block_0 = list_transform(block_0, lambda row, i: "
            "{scale: cast(row.scale * 2 as real), steps: row.steps, vector: row.vector})"
        ),
        "lm_head_weight": "scale = scale * 1.01 where row_id = 7",
    },
}


def test_a_corrupted_weight_is_found(
    built: Project, storage: str, copy_of: Callable[[Project], Project]
) -> None:
    project = copy_of(built)
    with duckdb.connect(str(project.directory / "relama.duckdb")) as connection:
        for table, change in CORRUPTIONS[storage].items():
            connection.execute(f"update {table} set {change}")
    with pytest.raises(ProjectError):
        dbt.invoke(project.directory, ["test", "--select", "tag:weights"])
    path = project.directory / "target" / "run_results.json"
    results = json.loads(path.read_text())["results"]
    failed = [result["unique_id"] for result in results if result["status"] == "fail"]
    assert len(failed) == len(CORRUPTIONS[storage])
    for table in CORRUPTIONS[storage]:
        assert any("quantization_error" in name and table in name for name in failed)


def test_an_unknown_storage_is_refused(tmp_path: Path) -> None:
    arguments = ["new", str(tmp_path / "p"), "--model", str(TINY_LLAMA), "--storage", "float8"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert "'float8' is not one of 'float32', 'int8'" in result.stderr
    assert not (tmp_path / "p").exists()
