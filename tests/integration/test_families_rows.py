"""A model of each family over the rows of a table, beside the oracle.

Prompts of a batch have different lengths, some longer than every window and than a page of a
cache, and some begin alike for longer than a window.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from relama.checkpoint import open_checkpoint
from relama.checkpoint.base import Checkpoint
from relama.project.manifest import Project
from relama.project.writer import write_project
from relama.reference import forward, greedy
from relama.runtime.tokenizer import ProjectTokenizer
from tests.families import EACH, some, write_family
from tests.family_projects import logprob
from tests.user_project import UserProject

#: Models whose logits are capped, with attention in SQL beside kernels, or multiplied; the others
#: are slow.
FIRST = {("gemma2", "native"), ("granite", "sql")}
ALIKE = "it begins like this: "
LABELS = ["yes", "no", "x y z"]
MAX_TOKENS = 8
#: Small enough that rows wait for others, and that a prompt is read in parts.
BATCH = "chat=false, batch_size=3, max_batch_tokens=17"


def texts(context: int) -> list[str]:
    """The prompts of one table, as far as the context reaches."""
    alphabet = "the quick brown fox jumps over the lazy dog, 0123456789 times; "
    longest = min(100, context - MAX_TOKENS)
    lengths = [1, 5, longest, 13, 30, 2, min(70, longest)]
    return [(alphabet[i:] + alphabet * 2)[:length] for i, length in enumerate(lengths)]


def embedding(checkpoint: Checkpoint, ids: Sequence[int]) -> list[float]:
    hidden = forward(checkpoint.config, checkpoint.tensors, ids).final_norm
    mean = hidden.astype(np.float64).mean(axis=0)
    unit: list[float] = (mean / np.linalg.norm(mean)).tolist()
    return unit


@pytest.mark.parametrize(
    ("name", "arithmetic"), some(FIRST, itertools.product(EACH, ("native", "sql")))
)
def test_rows(name: str, arithmetic: str, kernels_file: Path, tmp_path: Path) -> None:
    kernels = arithmetic == "native"
    checkpoint = open_checkpoint(write_family(tmp_path / "checkpoint", name))
    file = kernels_file if kernels else None
    project = write_project(tmp_path / "project", checkpoint, kernels=file)
    desk = UserProject(tmp_path / "desk", project)
    if kernels:
        desk.allow_kernels()
    context = project.config.max_position_embeddings
    desk.seed("texts", "id,prompt", list(enumerate(texts(context))))
    rows = "select * from {{ ref('texts') }}"
    shared = f"select id, '{ALIKE}' || left(prompt, 10) as prompt from ({rows}) as t"
    aimed = f"select *, 'x y' as target from ({rows}) as t"
    complete = f"materialized='relama_complete', max_tokens={MAX_TOKENS}, {BATCH}"
    desk.model("done", complete, rows)
    desk.model("alike", complete, shared)
    desk.model("scored", f"materialized='relama_score', {BATCH}", aimed)
    desk.model("labelled", f"materialized='relama_classify', labels={LABELS}, {BATCH}", rows)
    desk.model("embedded", "materialized='relama_embed', max_batch_tokens=17", rows)
    assert desk.dbt("build"), desk.output
    assert "tokens that all prompts begin with are read once" in desk.output
    check_completions(desk, project, checkpoint)
    tokenizer = ProjectTokenizer(project.directory)
    for text, found in desk.rows("select prompt, logprob from scored"):
        right = logprob(checkpoint, tokenizer.encode(text), tokenizer.encode("x y"))
        assert found == pytest.approx(right, rel=1e-4, abs=1e-4)
    for text, found in desk.rows("select prompt, probabilities from labelled"):
        ids = tokenizer.encode(text)
        scores = np.array([logprob(checkpoint, ids, tokenizer.encode(each)) for each in LABELS])
        weights = np.exp(scores - scores.max())
        right = dict(zip(LABELS, (weights / weights.sum()).tolist(), strict=True))
        assert found == pytest.approx(right, abs=1e-3)
    for text, found in desk.rows("select prompt, embedding from embedded"):
        right = embedding(checkpoint, tokenizer.encode(text))
        assert found == pytest.approx(right, abs=1e-4)


def check_completions(desk: UserProject, project: Project, checkpoint: Checkpoint) -> None:
    tokenizer = ProjectTokenizer(project.directory)
    answers = "select prompt, completion, completion_tokens, logprob from"
    found = desk.rows(f"{answers} done union all {answers} alike")
    assert len(found) == 2 * len(texts(project.config.max_position_embeddings))
    for text, completion, count, likelihood in found:
        ids = tokenizer.encode(text)
        chosen = greedy(checkpoint.config, checkpoint.tensors, ids, MAX_TOKENS)
        ends = [i + 1 for i, token in enumerate(chosen) if token in tokenizer.end_token_ids]
        chosen = chosen[: min(ends, default=MAX_TOKENS)]
        assert (completion, count) == (tokenizer.decode(chosen), len(chosen))
        right = logprob(checkpoint, ids, chosen)
        assert likelihood == pytest.approx(right, rel=1e-4, abs=1e-4)
