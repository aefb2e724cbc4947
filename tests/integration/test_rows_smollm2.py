"""A language model over a table with the real model, against sessions and the oracle.

Natively: that SQL answers the same is proven on the fixture checkpoint, in `test_rows.py`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from relama.checkpoint import open_checkpoint
from relama.checkpoint.base import Tensor
from relama.project.manifest import Project
from relama.reference import forward
from relama.runtime.session import Settings, generate, open_engine
from relama.runtime.tokenizer import ProjectTokenizer
from tests.sentiments import LABELS, sentences
from tests.texts import mixed_lines
from tests.user_project import UserProject

#: Rows that are compared with each prompt alone: each takes seconds.
ROWS = int(os.environ.get("RELAMA_TEST_ROWS", "6"))
BATCH = min(16, ROWS // 2)

PROMPT = """Review: I enjoyed every minute of this masterpiece.
Sentiment:
positive

Review: This was dreadful, I left after ten minutes.
Sentiment:
negative

Review: The film runs for two hours.
Sentiment:
neutral

Review: {}
Sentiment:
"""


@pytest.fixture(scope="module")
def desk(
    smollm2_project: Project, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[UserProject]:
    directory = tmp_path_factory.mktemp("desk") / "desk"
    directory.mkdir()
    desk = UserProject(directory, smollm2_project)
    desk.allow_kernels()
    yield desk
    for file in directory.glob("*.duckdb*"):
        file.unlink()


def test_batches_choose_what_each_prompt_alone_does(
    desk: UserProject, smollm2_project: Project
) -> None:
    tokenizer = ProjectTokenizer(smollm2_project.directory)
    lines = [line for line in mixed_lines(4 * ROWS, seed=11) if line.strip() and "\x00" not in line]
    prompts = [f"Continue: {line[:80]}" for line in lines[:ROWS]]
    desk.seed("prompts", "id,body", list(enumerate(prompts)))
    desk.model(
        "answers",
        f"materialized='relama_complete', max_tokens=12, batch_size={BATCH}, unique_key='id'",
        "select id, body as prompt from {{ ref('prompts') }}",
    )
    desk.build("package:smollm2", "prompts", "answers")
    rows = desk.rows(
        "select prompt, completion, completion_tokens, logprob from answers order by id"
    )
    assert len(rows) == ROWS
    assert "tokens that all prompts begin with are read once" in desk.output
    plain = tokenizer._tokenizer
    with open_engine(smollm2_project, "session", sequence_id=0) as engine:
        for prompt, completion, count, _ in rows:
            plain.encode_special_tokens = True
            content = plain.encode(f"user\n{prompt}", add_special_tokens=False).ids
            plain.encode_special_tokens = False
            rendered = tokenizer.render_chat([{"role": "user", "content": "\ue000"}])
            head, tail = rendered.split("user\n\ue000")
            ids = [
                *tokenizer.encode(head, add_special_tokens=False),
                *content,
                *tokenizer.encode(tail, add_special_tokens=False),
            ]
            alone = generate(smollm2_project, engine, tokenizer, ids, Settings(max_new_tokens=12))
            assert (completion, count) == (tokenizer.decode(alone.ids), len(alone.ids))


def in_memory(tensor: Tensor) -> Tensor:
    """The same tensor, read once."""
    array = tensor.read()
    return replace(tensor, read_rows=lambda start, stop: array[start:stop])


@pytest.mark.slow
def test_labels_are_those_of_the_oracle(
    desk: UserProject, smollm2_project: Project, smollm2_gguf: Path
) -> None:
    table = sentences()
    assert len(table) == 100
    desk.seed("reviews", "id,sentence,sentiment", table)
    before, after = PROMPT.split("{}")
    desk.model(
        "sentiments",
        f"materialized='relama_classify', labels={list(LABELS)}, chat=false, unique_key='id'",
        f"select id, sentiment, '{before}' || sentence || '{after}' as prompt "
        "from {{ ref('reviews') }}",
    )
    assert desk.build("package:smollm2", "reviews", "sentiments")["sentiments"] == 100
    checkpoint = open_checkpoint(smollm2_gguf)
    tensors = {name: in_memory(tensor) for name, tensor in checkpoint.tensors.items()}
    tokenizer = ProjectTokenizer(smollm2_project.directory)
    targets = [tokenizer.encode(label, add_special_tokens=False) for label in LABELS]
    rows = desk.rows("select prompt, sentiment, label, probabilities from sentiments order by id")
    # The oracle reads each prompt alone, which takes long: every fourth.
    for prompt, _, label, probabilities in rows[::4]:
        ids = tokenizer.encode(prompt, add_special_tokens=False)
        logits = forward(checkpoint.config, tensors, ids).logits[-1].astype(np.float64)
        # Labels of one token each: the softmax needs no normaliser.
        scores = logits[[token for (token,) in targets]]
        weights = np.exp(scores - scores.max())
        weights /= weights.sum()
        assert label == LABELS[int(weights.argmax())]
        assert list(probabilities.values()) == pytest.approx(weights.tolist(), abs=1e-3)
    # Of three labels a third would be chance.
    assert sum(label == sentiment for _, sentiment, label, _ in rows) >= 60
