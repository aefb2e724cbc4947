"""What the suite `rows` makes sure of before it gives figures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import duckdb
import numpy as np
import pytest

from benchmarks.models import kind_of
from benchmarks.places import SMOLLM2, BenchmarkError
from benchmarks.rows import common, compare, is_native
from relama.checkpoint.base import FloatArray

PROMPTS = [[1, 2], [1, 3]]


def logits(ids: Sequence[int]) -> FloatArray:
    """Token 4 is the most likely one, 5 nearly as much, after the prompt and one more."""
    assert list(ids) == [1, 3, 7]
    return np.array([0, 0, 0, 0, 9.0, 8.9, 8.0], np.float32)


def test_the_same_answers_pass() -> None:
    answers = [[7, 4], [7, 5]]
    assert compare(PROMPTS, answers, answers, logits) == {"rows": 2, "same": 2, "near_ties": 0}


def test_a_token_that_is_as_likely_passes() -> None:
    compared = compare(PROMPTS, [[7, 4, 1], [7, 5, 1]], [[7, 4, 1], [7, 4, 3]], logits)
    assert compared == {"rows": 2, "same": 1, "near_ties": 1}


def test_another_answer_is_an_error() -> None:
    with pytest.raises(BenchmarkError, match=r"token 6 instead of 4, whose logit is 1\.000 higher"):
        compare(PROMPTS, [[7, 4], [7, 6]], [[7, 4], [7, 4]], logits)


@pytest.mark.skipif(not SMOLLM2.is_file(), reason="downloaded by `make demo`")
def test_llama_cpp_answers_side_by_side_as_one_by_one() -> None:
    """Prompts of several lengths, more of them than sequences, with and without a beginning."""
    llama = pytest.importorskip("benchmarks.systems.llama_cpp_batch")
    texts = ["The capital of France is", "The capital of Italy, a country, is", "The capital"]
    with (
        llama.LlamaCppBatch(SMOLLM2, 1, 1, 64) as single,
        llama.LlamaCppBatch(SMOLLM2, 1, 2, 64) as batch,
    ):
        prompts = [single.tokenize(text) for text in texts]
        expected = single.complete(prompts, 6)
        assert len({*map(tuple, expected)}) == 3
        for shared in (0, 2):
            answers = batch.complete(prompts, 6, shared)
            assert compare(prompts, answers, expected, single.logits)["rows"] == 3


def test_ids_in_common() -> None:
    assert common([[1, 2, 3], [1, 2, 4], [1, 2]]) == 2
    assert common([[1, 2], [3, 2]]) == 0
    assert common([[1, 2]]) == 2


def test_a_database_tells_its_kernels(tmp_path: Path) -> None:
    """What was not built with kernels is not measured as such."""
    for name, function in (("native", "relama_attention(x)"), ("sql", "list_sum(x)")):
        with duckdb.connect(str(tmp_path / name)) as connection:
            connection.execute("create macro relama_attention(x) as x")
            connection.execute(f"create macro forward_pass(x) as {function}")
            connection.execute("drop macro relama_attention")
        assert is_native(tmp_path / name) == (name == "native")


def test_a_file_is_named_by_its_type() -> None:
    assert kind_of(Path("a/SmolLM2-135M-Instruct.Q4_1.gguf")) == "Q4_1"
    assert kind_of(Path("a/smollm2-f32.gguf")) == "F32"
