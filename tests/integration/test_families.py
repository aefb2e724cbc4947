"""The generated SQL of each model type beside the oracle and transformers, on tiny random models.

Prompts are longer than every window. The oracle itself is compared with transformers in
`tests/unit/test_reference_families.py`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from relama.architectures import ARCHITECTURES
from relama.checkpoint import Checkpoint, open_checkpoint
from relama.project.manifest import Project
from relama.project.writer import write_project
from relama.reference import forward, greedy, log_softmax
from relama.runtime import dbt
from relama.runtime.compare import compare
from relama.runtime.session import open_engine
from relama.runtime.statements import compiled
from tests.families import NAMES, expected, family, write_family
from tests.stored import stored_tensors
from tests.targets import GREEDY, all_logits, assert_equals_the_oracle
from tests.user_project import UserProject

#: The models of families that are compiled.
COMPILED = [name for name in NAMES if family(name).config["model_type"] in ARCHITECTURES]
#: One of each family and each rotary scaling, which `make test` builds; the others are slow.
FIRST = {
    *("deepseek_v3", "gemma2", "gemma3", "granite", "llama_yarn", "mistral", "olmo2"),
    *("mixtral", "phi3", "phi3_longrope", "qwen2_moe", "qwen2_sliding", "qwen3", "smollm3_sliding"),
}
STEPS = 12


def some(first: set[str]) -> list[object]:
    marks = [pytest.mark.slow]
    return [pytest.param(n, marks=[] if n in first else marks) for n in COMPILED]


def built(directory: Path, name: str, **options: object) -> Project:
    """A project of that model; the tests of its tables are those of every project."""
    checkpoint = open_checkpoint(write_family(directory / "checkpoint", name))
    project = write_project(directory / "project", checkpoint, **options)  # type: ignore[arg-type]
    dbt.invoke(project.directory, ["build", "--exclude-resource-type", "test"])
    return project


def prompt(name: str, project: Project) -> list[int]:
    """What transformers was given, as far as the context reaches with some steps more."""
    ids: list[int] = expected(name)["ids"]
    return ids[: project.config.max_position_embeddings - STEPS]


def greedy_ids(project: Project, ids: list[int], steps: int = STEPS) -> list[int]:
    with open_engine(project, "session", sequence_id=0) as engine:
        engine.start(ids, GREEDY)
        return [engine.step() for _ in range(steps)]


@pytest.mark.parametrize("name", some(FIRST))
def test_hidden_states_logits_and_greedy_ids(name: str, tmp_path: Path) -> None:
    project = built(tmp_path, name)
    checkpoint = open_checkpoint(tmp_path / "checkpoint")
    ids = prompt(name, project)
    differences = compare(project, checkpoint, ids)
    assert max(difference.relative for difference in differences) < 1e-4
    logits = forward(checkpoint.config, checkpoint.tensors, ids).logits[-1]
    assert np.abs(all_logits(project, ids) - logits).max() < 1e-4 * np.abs(logits).max()
    continued = greedy_ids(project, ids)
    assert continued == greedy(checkpoint.config, checkpoint.tensors, ids, STEPS)
    if ids == expected(name)["ids"]:
        assert continued == expected(name)["greedy"][:STEPS]


@pytest.mark.parametrize("storage", ["float32", "int8", "int4"])
@pytest.mark.parametrize("name", some({"gemma2"}))
def test_native_and_rounded(name: str, storage: str, kernels_file: Path, tmp_path: Path) -> None:
    """With native kernels, on the stored weights: many positions at once, and one by one."""
    project = built(tmp_path, name, storage=storage, kernels=kernels_file)
    layers = project.config.num_hidden_layers
    for decode in (False, True):
        sql = compiled(project, ["step"], decode=decode)["step"].sql
        assert sql.count("relama_attention(") == layers
    checkpoint = open_checkpoint(tmp_path / "checkpoint")
    is_exact = storage == "float32"
    tensors = checkpoint.tensors if is_exact else stored_tensors(project, checkpoint, storage)
    ids = prompt(name, project)
    logits = forward(checkpoint.config, tensors, ids, "all").logits
    assert np.abs(all_logits(project, ids) - logits[-1]).max() < 2e-4 * np.abs(logits).max()
    assert greedy_ids(project, ids) == greedy(checkpoint.config, tensors, ids, STEPS)
    one_by_one = greedy_ids(project, ids[:1], 3)
    assert one_by_one == greedy(checkpoint.config, tensors, ids[:1], 3)


@pytest.mark.parametrize(
    "name", [pytest.param("deepseek_v3", marks=pytest.mark.slow), "gemma2", "granite"]
)
@pytest.mark.parametrize("kernels", [False, True])
def test_rows(name: str, kernels: bool, kernels_file: Path, tmp_path: Path) -> None:
    """Logits of rows are multiplied and capped as those of a session are."""
    checkpoint = open_checkpoint(write_family(tmp_path / "checkpoint", name))
    directory = tmp_path / "project"
    project = write_project(directory, checkpoint, kernels=kernels_file if kernels else None)
    desk = UserProject(tmp_path / "desk", project)
    if kernels:
        desk.allow_kernels()
    texts = ["tell me", "a b c d e f g h i j k l m n o p q r s t u v w x y z"]
    desk.seed("texts", "id,prompt", list(enumerate(texts)))
    query = "select * from {{ ref('texts') }}"
    desk.model("done", "materialized='relama_complete', max_tokens=8, chat=false", query)
    target = f"select *, 'x y' as target from ({query}) as t"
    desk.model("scored", "materialized='relama_score', chat=false", target)
    assert desk.dbt("build"), desk.output
    tokenizer = checkpoint.tokenizer()
    done = desk.rows("select prompt, completion_tokens, logprob from done order by id")
    scored = desk.rows("select prompt, logprob from scored order by id")
    for (text, count, logprob), (_, score) in zip(done, scored, strict=True):
        ids = tokenizer.encode(text).ids
        chosen = greedy(checkpoint.config, checkpoint.tensors, ids, count)
        assert logprob == pytest.approx(_logprob(checkpoint, ids, chosen), abs=1e-4)
        target_ids = tokenizer.encode("x y", add_special_tokens=False).ids
        assert score == pytest.approx(_logprob(checkpoint, ids, target_ids), abs=1e-4)


def _logprob(checkpoint: Checkpoint, ids: list[int], then: list[int]) -> float:
    both = [*ids, *then]
    logits = forward(checkpoint.config, checkpoint.tensors, both, "all").logits
    logprobs = log_softmax(logits)
    return sum(float(logprobs[i - 1, both[i]]) for i in range(len(ids), len(both)))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gemma3", "smollm3_sliding"])
def test_passes_left_out(name: str, tmp_path: Path) -> None:
    project = built(tmp_path, name, disabled_passes=["fuse_qkv", "fuse_gate_up", "cut_blocks"])
    checkpoint = open_checkpoint(tmp_path / "checkpoint")
    assert_equals_the_oracle(project, checkpoint)
