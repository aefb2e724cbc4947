"""One answer per group of rows, in levels of prompts, against the oracle in numpy."""

from __future__ import annotations

import hashlib
import re
import signal
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path

import pytest

from relama.runtime.tokenizer import ProjectTokenizer
from tests.integration.conftest import TICKETS
from tests.integration.test_rows import (
    ANSWERS,
    CONTEXT,
    build_natively,
    chat_ids,
    expected,
)
from tests.user_project import UserProject

#: Instructions so long that a prompt has room for few texts, and fewer answers.
INSTRUCTIONS = "Summarise what they say. " * 7
CONFIG = (
    f"materialized='relama_aggregate', group_by=['product'], instructions={INSTRUCTIONS!r}, "
    "max_tokens=8, batch_size=64"
)
QUERY = "select id, product, body as prompt from {{ ref('reviews') }}"
COLUMNS = "completion, finish_reason, prompt_tokens, completion_tokens, levels, row_count"

Review = tuple[int, str, str]


def reviews(count: int, product: str = "app") -> list[Review]:
    return [(i, product, f"r{i * 7919 % 10007}") for i in range(count)]


def seed(desk: UserProject, rows: Iterable[Review]) -> None:
    desk.seed("reviews", "id,product,body", list(rows))
    assert desk.dbt("seed", "--select", "reviews"), desk.output


def md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()


def tree(desk: UserProject, model: str) -> list[tuple[object, ...]]:
    """The prompts of all levels and their answers."""
    return desk.rows(
        "select product, level, inputs, prompt, completion, logprob, relama_hash "
        f"from {model}__relama_levels order by all"
    )


@pytest.fixture(scope="module")
def tokenizer(language_model: Path) -> ProjectTokenizer:
    return ProjectTokenizer(language_model)


@pytest.fixture
def native_desk(desk: UserProject) -> UserProject:
    build_natively(desk)
    return desk


def check_tree(desk: UserProject, model: str, rows: list[Review]) -> int:
    """Every text, and every answer but the last, is in exactly one prompt. Returns the levels."""
    prompts = desk.rows(
        "select level, inputs, prompt, relama_hash, completion, prompt_tokens "
        f"from {model}__relama_levels"
    )
    texts = {md5(body): body for _, _, body in rows}
    first = [digest for level, inputs, *_ in prompts if level == 1 for digest in inputs]
    assert sorted(first) == sorted(md5(body) for _, _, body in rows)
    merged = [digest for level, inputs, *_ in prompts if level > 1 for digest in inputs]
    answers = {digest: answer for _, _, _, digest, answer, _ in prompts}
    ((last, levels),) = desk.rows(f"select completion, levels from {model}")
    (top,) = [digest for level, _, _, digest, _, _ in prompts if level == levels]
    assert sorted([*merged, top]) == sorted(digest for _, _, _, digest, _, _ in prompts)
    assert last == answers[top]
    for level, inputs, prompt, _, _, prompt_tokens in prompts:
        known = texts if level == 1 else answers
        assert prompt == "\n\n".join(known[digest] for digest in inputs)
        assert prompt_tokens <= CONTEXT - 8 + 1
        assert level == 1 or len(inputs) > 1
    return int(levels)


def test_five_hundred_rows_in_levels(native_desk: UserProject, tokenizer: ProjectTokenizer) -> None:
    desk, rows = native_desk, reviews(500)
    seed(desk, rows)
    ordered = f"{CONFIG}, order_by='id'"
    desk.model("digested", CONFIG, QUERY)
    desk.model("ordered", ordered, QUERY)
    count = desk.build("digested", "ordered")
    levels = {model: check_tree(desk, model, rows) for model in count}
    assert min(levels.values()) >= 5
    for model in count:
        prompts = f"select count(distinct relama_hash) from {model}__relama_levels"
        assert desk.rows(prompts) == [(count[model],)]
    bodies = {md5(body): i for i, _, body in rows}
    for (inputs,) in desk.rows("select inputs from ordered__relama_levels where level = 1"):
        first = bodies[inputs[0]]
        assert [bodies[digest] for digest in inputs] == [*range(first, first + len(inputs))]
    # The same prompts in relama_complete, and some of them in numpy.
    desk.model(
        "again",
        f"materialized='relama_complete', instructions={INSTRUCTIONS!r}, max_tokens=8",
        "-- depends_on: {{ ref('digested') }}\n"
        "select level, prompt from digested__relama_levels where level > 1",
    )
    desk.build("again")
    columns = "level, prompt, completion, finish_reason, prompt_tokens, completion_tokens"
    assert desk.rows(f"select {columns} from again order by all") == desk.rows(
        f"select {columns} from digested__relama_levels where level > 1 order by all"
    )
    for level in (1, 2, levels["digested"]):
        ((prompt, *answer),) = desk.rows(
            ANSWERS.replace("select", "select prompt,")
            + f" from digested__relama_levels where level = {level} order by prompt limit 1"
        )
        ids = chat_ids(tokenizer, f"{INSTRUCTIONS}\n\n{prompt}")
        assert tuple(answer) == expected(tokenizer, ids, 8)
    # Nothing has changed.
    assert desk.build("digested", "ordered") == {"digested": 0, "ordered": 0}
    # One row has another text: one prompt of each level, at most.
    before = {model: set(tree(desk, model)) for model in count}
    changed = [(i, product, "r!" if i == 250 else body) for i, product, body in rows]
    seed(desk, changed)
    answered = desk.build("digested", "ordered")
    assert answered["ordered"] <= levels["ordered"]
    # By digest it goes from one place and comes to another.
    assert answered["digested"] <= 2 * levels["digested"]
    for model in count:
        check_tree(desk, model, changed)
        new = set(tree(desk, model)) - before[model]
        assert len(new) == answered[model]
    # One row is added.
    seed(desk, [*rows, (250, "app", "one more")])
    added = desk.build("digested", "ordered")
    for model in count:
        check_tree(desk, model, [*rows, (250, "app", "one more")])
        assert 0 < added[model] <= levels[model] + 1
