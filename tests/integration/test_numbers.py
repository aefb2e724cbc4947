"""The generated SQL against the numpy oracle, on small checkpoints of every shape."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from relama.checkpoint import open_checkpoint
from relama.passes import PASSES
from relama.project.manifest import Project
from relama.reference import forward, greedy, log_softmax
from relama.runtime.session import negative_log_likelihood, open_engine, top_logits
from tests.conftest import TINY_LLAMA, make_project
from tests.fixtures.make_tiny_llama import write_tiny_llama
from tests.targets import GREEDY, PROMPT, all_logits


def assert_equals_the_oracle(project: Project, checkpoint: Path) -> None:
    opened = open_checkpoint(checkpoint)
    config, tensors = opened.config, opened.tensors
    for token_ids in (PROMPT, PROMPT[:1]):
        expected = forward(config, tensors, token_ids).logits[-1]
        assert np.abs(all_logits(project, token_ids) - expected).max() < 1e-4
    with open_engine(project, "session", sequence_id=0) as engine:
        engine.start(PROMPT, GREEDY)
        ids = [engine.step() for _ in range(6)]
    assert ids == greedy(config, tensors, PROMPT, 6)


def test_fixture(built_tiny_project: Project) -> None:
    assert_equals_the_oracle(built_tiny_project, TINY_LLAMA)


def test_long_context_crosses_every_rope_regime(tiny_project: Project) -> None:
    checkpoint = open_checkpoint(TINY_LLAMA)
    token_ids = [(7 * i) % tiny_project.config.vocab_size for i in range(200)]
    expected = forward(checkpoint.config, checkpoint.tensors, token_ids).logits[-1]
    assert np.abs(all_logits(tiny_project, token_ids) - expected).max() < 1e-4


@pytest.mark.parametrize("name", PASSES)
def test_each_pass_leaves_the_result_equal(name: str, tmp_path: Path) -> None:
    project = make_project(tmp_path / "project", TINY_LLAMA, disabled_passes=[name])
    assert_equals_the_oracle(project, TINY_LLAMA)


@pytest.mark.parametrize(
    "overrides",
    [
        pytest.param({"tie_word_embeddings": True, "dialect": "v4"}, id="tied, v4 dialect"),
        pytest.param({"attention_bias": False, "mlp_bias": False, "shards": 2}, id="no bias"),
        pytest.param({"head_dim": 16, "dtype": "BF16", "rms_norm_eps": 0.1}, id="head_dim"),
        pytest.param({"rope": {"rope_type": "linear", "factor": 4.0}}, id="linear rope"),
    ],
)
def test_other_shapes(overrides: dict[str, Any], tmp_path: Path) -> None:
    write_tiny_llama(tmp_path / "checkpoint", **overrides)
    project = make_project(tmp_path / "project", tmp_path / "checkpoint")
    assert_equals_the_oracle(project, tmp_path / "checkpoint")


@pytest.mark.parametrize("length", [2, 64, 65, 150])
def test_negative_log_likelihood(built_tiny_project: Project, length: int) -> None:
    """Lengths around the chunk of 64 positions, where the cache is handed over."""
    checkpoint = open_checkpoint(TINY_LLAMA)
    vocab_size = built_tiny_project.config.vocab_size
    token_ids = [(11 * i + i * i) % vocab_size for i in range(length)]
    logits = forward(checkpoint.config, checkpoint.tensors, token_ids, "all").logits
    logprobs = log_softmax(logits)
    expected = -sum(float(logprobs[i, token_ids[i + 1]]) for i in range(length - 1))
    nll = negative_log_likelihood(built_tiny_project, token_ids)
    assert nll == pytest.approx(expected, rel=1e-5)


def test_logprobs_sum_to_one(built_tiny_project: Project) -> None:
    candidates = top_logits(built_tiny_project, PROMPT, built_tiny_project.config.vocab_size)
    assert sum(np.exp(c.logprob) for c in candidates) == pytest.approx(1, abs=1e-6)
