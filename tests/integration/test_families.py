"""The generated SQL of each model type beside the oracle and transformers, on tiny random models.

Prompts are longer than every window. The oracle itself is compared with transformers in
`tests/unit/test_reference_families.py`.
"""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from relama.checkpoint import open_checkpoint
from relama.project.writer import write_project
from relama.reference import forward, greedy, log_softmax
from relama.runtime import dbt
from relama.runtime.compare import compare
from relama.runtime.session import negative_log_likelihood, perplexity
from relama.runtime.statements import compiled
from tests.families import EACH, expected, some, write_family
from tests.family_projects import (
    STEPS,
    built,
    greedy_ids,
    prompt,
    random_text,
    read_one_by_one,
)
from tests.stored import stored_tensors
from tests.targets import all_logits, assert_equals_the_oracle

#: One of each family and each rotary scaling, which `make test` builds; the others are slow.
FIRST = {
    *("deepseek_v3", "gemma2", "gemma3", "granite", "llama_yarn", "mistral", "olmo2"),
    *("mixtral", "phi3", "phi3_longrope", "qwen2_moe", "qwen2_sliding", "qwen3", "smollm3_sliding"),
}


@pytest.mark.parametrize("name", some(FIRST))
def test_hidden_states_logits_and_greedy_ids(name: str, tmp_path: Path) -> None:
    directory = write_family(tmp_path / "checkpoint", name)
    project = built(tmp_path / "project", directory)
    checkpoint = open_checkpoint(directory)
    ids = prompt(name, project)
    differences = compare(project, checkpoint, ids)
    assert max(difference.relative for difference in differences) < 1e-4
    logits = forward(checkpoint.config, checkpoint.tensors, ids).logits[-1]
    assert np.abs(all_logits(project, ids) - logits).max() < 1e-4 * np.abs(logits).max()
    continued = greedy_ids(project, ids)
    assert continued == greedy(checkpoint.config, checkpoint.tensors, ids, STEPS)
    if ids == expected(name)["ids"]:
        assert continued == expected(name)["greedy"][:STEPS]


#: Scalings of rotary embedding with an original context of 16, of which prompts have 42 tokens.
SCALINGS = {
    "linear": {"factor": 4.0},
    "llama3": {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0},
    "yarn": {"factor": 4.0},
    "longrope": {"short_factor": [1.0, 1.25, 1.5, 2.0], "long_factor": [1.0, 2.0, 4.0, 7.0]},
}


@pytest.mark.slow
@pytest.mark.parametrize("rope_type", SCALINGS)
@pytest.mark.parametrize("name", ["llama_yarn", "qwen3"])
def test_past_the_original_context(name: str, rope_type: str, tmp_path: Path) -> None:
    """From a prompt within it, and from a longer one."""
    file = write_family(tmp_path / "checkpoint", name) / "config.json"
    config = json.loads(file.read_text()) | {"rope_theta": 1000.0}
    del config["rope_parameters"]
    original = {"original_max_position_embeddings": 16}
    config["rope_scaling"] = {"rope_type": rope_type, **SCALINGS[rope_type], **original}
    file.write_text(json.dumps(config))
    checkpoint = open_checkpoint(tmp_path / "checkpoint")
    project = write_project(tmp_path / "project", checkpoint)
    dbt.invoke(project.directory, ["build", "--exclude-resource-type", "test"])
    ids = expected(name)["ids"]
    differences = compare(project, checkpoint, ids)
    assert max(difference.relative for difference in differences) < 1e-5
    for length in (12, len(ids)):
        continued = greedy(checkpoint.config, checkpoint.tensors, ids[:length], STEPS)
        assert greedy_ids(project, ids[:length]) == continued


#: What `make test` builds with and without kernels: norms of heads in front of a rotary
#: embedding, matrices that are stored fused, and neither.
FIRST_STORED = {
    ("mistral", "float32", "native"),
    ("phi3", "int4", "native"),
    ("gemma3", "int8", "sql"),
}


STORED = itertools.product(EACH, ("float32", "int8", "int4"), ("native", "sql"))


@pytest.mark.parametrize(("name", "storage", "arithmetic"), some(FIRST_STORED, STORED))
def test_native_and_rounded(
    name: str, storage: str, arithmetic: str, kernels_file: Path, tmp_path: Path
) -> None:
    """The stored weights, read at once, token by token, and as a text to be scored."""
    file = kernels_file if arithmetic == "native" else None
    directory = write_family(tmp_path / "checkpoint", name)
    project = built(tmp_path / "project", directory, storage=storage, kernels=file)
    checkpoint = open_checkpoint(directory)
    if arithmetic == "native":
        for decode in (False, True):
            sql = compiled(project, ["step"], decode=decode)["step"].sql
            assert sql.count("relama_attention(") == project.config.num_hidden_layers
    is_exact = storage == "float32"
    tensors = checkpoint.tensors if is_exact else stored_tensors(project, checkpoint, storage)
    ids = prompt(name, project)
    logits = forward(checkpoint.config, tensors, ids, "all").logits
    assert np.abs(all_logits(project, ids) - logits[-1]).max() < 2e-4 * np.abs(logits).max()
    continued = greedy(checkpoint.config, tensors, ids, STEPS)
    assert greedy_ids(project, ids) == continued
    assert read_one_by_one(project, ids) == continued
    text = random_text(project)
    found = perplexity(negative_log_likelihood(project, text), len(text))
    logprobs = log_softmax(forward(checkpoint.config, tensors, text, "all").logits)
    right = np.exp(-logprobs[np.arange(len(text) - 1), text[1:]].mean())
    assert found == pytest.approx(right, rel=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gemma3", "smollm3_sliding"])
def test_passes_left_out(name: str, tmp_path: Path) -> None:
    directory = write_family(tmp_path / "checkpoint", name)
    passes = ["fuse_qkv", "fuse_gate_up", "cut_blocks"]
    project = built(tmp_path / "project", directory, disabled_passes=passes)
    checkpoint = open_checkpoint(directory)
    assert_equals_the_oracle(project, checkpoint)
