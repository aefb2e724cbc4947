"""LongRoPE past its original context: short factors up to 66 tokens, long ones for more.

That is past a page of the cache, and past what is scored at once. The oracle reads every text as
one pass of transformers does, by its length; that Phi-3 of transformers generates the same with a
cache, which it drops where the length passes the original context, is in
`tests/unit/test_reference_families.py`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from relama.checkpoint import Checkpoint, open_checkpoint
from relama.project.manifest import Project
from relama.project.writer import write_project
from relama.reference import forward, greedy, log_softmax
from relama.runtime import dbt
from relama.runtime.compare import compare
from relama.runtime.session import Session, negative_log_likelihood, open_engine
from tests.families import expected, write_family
from tests.targets import GREEDY, all_logits
from tests.user_project import UserProject

NAME = "phi3_longrope_partial"
CONTEXT, LONGEST = 66, 128
TEXT: list[int] = expected(NAME)["ids"] * 3


def write_checkpoint(directory: Path) -> Path:
    """Phi-4's kind of model, with an original context and a longer one."""
    write_family(directory, NAME)
    file = directory / "config.json"
    config = json.loads(file.read_text())
    config |= {"original_max_position_embeddings": CONTEXT, "max_position_embeddings": LONGEST}
    file.write_text(json.dumps(config))
    return directory


@dataclass(frozen=True)
class Oracle:
    """What follows a text, by passes over all of it."""

    checkpoint: Checkpoint

    def continued(self, ids: Sequence[int], count: int) -> list[int]:
        return greedy(self.checkpoint.config, self.checkpoint.tensors, list(ids), count)

    def logprobs(self, ids: Sequence[int], length: int | None = None) -> np.ndarray[Any, Any]:
        """Of every next token, at each position.

        Args:
            length: of the whole text, of which `ids` are the first; later tokens change nothing
                but the factors.
        """
        padded = [*ids, *[0] * ((length or 0) - len(ids))]
        config, tensors = self.checkpoint.config, self.checkpoint.tensors
        return log_softmax(forward(config, tensors, padded, "all").logits)[: len(ids)]

    def score(self, ids: Sequence[int], target: Sequence[int], length: int | None = None) -> float:
        both = [*ids, *target]
        logprobs = self.logprobs(both, length)
        return sum(float(logprobs[i - 1, both[i]]) for i in range(len(ids), len(both)))


@pytest.fixture(scope="module")
def oracle(tmp_path_factory: pytest.TempPathFactory) -> Oracle:
    return Oracle(open_checkpoint(write_checkpoint(tmp_path_factory.mktemp("longrope"))))


def built(directory: Path, checkpoint: Checkpoint, **options: Any) -> Project:
    project = write_project(directory, checkpoint, **options)
    dbt.invoke(project.directory, ["build", "--exclude-resource-type", "test"])
    return project


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, oracle: Oracle) -> Project:
    return built(tmp_path_factory.mktemp("sql") / "phi", oracle.checkpoint)


@pytest.fixture(scope="module")
def native(tmp_path_factory: pytest.TempPathFactory, oracle: Oracle, kernels_file: Path) -> Project:
    directory = tmp_path_factory.mktemp("native") / "phi"
    return built(directory, oracle.checkpoint, kernels=kernels_file)


@pytest.fixture(params=["project", "native"])
def either(request: pytest.FixtureRequest) -> Project:
    """With stock SQL, and with kernels."""
    found: Project = request.getfixturevalue(request.param)
    return found


def steps(
    project: Project, ids: Sequence[int], count: int, memory_limit: int | None = None
) -> list[int]:
    with open_engine(project, "session", memory_limit, sequence_id=0) as engine:
        engine.start(ids, GREEDY)
        return [engine.step() for _ in range(count)]


@pytest.mark.parametrize("length", [60, CONTEXT - 1, CONTEXT, CONTEXT + 1, 100])
def test_a_session_crosses_the_original_context(
    either: Project, oracle: Oracle, length: int
) -> None:
    """From before it, at its end, and from a prompt that is longer."""
    assert steps(either, TEXT[:length], 20) == oracle.continued(TEXT[:length], 20)


@pytest.mark.parametrize("length", [CONTEXT, CONTEXT + 1, 100])
def test_logits_and_hidden_states(either: Project, oracle: Oracle, length: int) -> None:
    ids = TEXT[:length]
    differences = compare(either, oracle.checkpoint, ids)
    assert max(difference.relative for difference in differences) < 1e-5
    logits = forward(oracle.checkpoint.config, oracle.checkpoint.tensors, ids).logits[-1]
    assert np.abs(all_logits(either, ids) - logits).max() < 1e-5 * np.abs(logits).max()


@pytest.mark.parametrize("length", [CONTEXT, CONTEXT + 1, LONGEST])
def test_the_perplexity_of_a_text_is_by_its_whole_length(
    project: Project, oracle: Oracle, length: int
) -> None:
    ids = TEXT[:length]
    expected_nll = -oracle.score(ids[:1], ids[1:])
    assert negative_log_likelihood(project, ids) == pytest.approx(expected_nll, rel=1e-5)


def test_a_conversation_crosses_it_and_returns(either: Project, oracle: Oracle) -> None:
    """Turns that share a beginning keep what they can use of the cache, and nothing else."""
    with open_engine(either, "session", sequence_id=0) as engine:
        assert isinstance(engine, Session)

        def turn(ids: list[int], count: int, cached: int) -> list[int]:
            engine.start(ids, GREEDY)
            assert engine._cached == cached
            answer = [engine.step() for _ in range(count)]
            assert answer == oracle.continued(ids, count)
            return [*ids, *answer]

        turn(TEXT[20:25], 1, 0)
        first = turn(TEXT[:58], 4, 0)
        # Short to short, short to long, long to long, long to short, and over the edge again.
        second = turn([*first, 9], 2, 61)
        third = turn([*second, *TEXT[30:35]], 3, 0)
        turn([*third, 7, 8], 2, 72)
        fourth = turn([*third[:62], 5], 3, 0)
        assert len(fourth) == CONTEXT
        fifth = turn(fourth, 1, 65)
        turn([*fifth, 3], 2, 0)
        turn(TEXT[: CONTEXT + 1], 1, 58)


def test_within_a_memory_limit(project: Project, oracle: Oracle) -> None:
    """What is read again is read by parts, too, and stays in the state as it was."""
    ids = TEXT[3:65]
    assert steps(project, ids, 12, 2_000_000_000) == oracle.continued(ids, 12)
    with open_engine(project, "session", 2_000_000_000, sequence_id=0) as engine:
        assert isinstance(engine, Session)
        rows = engine.connection.execute(
            "select token_id, is_prompt, logprob, position from tokens order by position"
        ).fetchall()
        assert [row[3] for row in rows] == list(range(74))
        assert [row[1] for row in rows] == [True] * 62 + [False] * 12
        assert [row[2] is None for row in rows] == [True] * 62 + [False] * 12
        tokens = [row[0] for row in rows]
        for end in range(62, 74):
            logprobs = oracle.logprobs(tokens[:end])[-1]
            assert rows[end][2] == pytest.approx(logprobs[tokens[end]], abs=1e-5)
        read = engine.connection.execute("select has_read, is_long from sequences").fetchall()
        assert read == [(73, True)]
        engine.start(TEXT[:90], GREEDY)
        assert [engine.step() for _ in range(3)] == oracle.continued(TEXT[:90], 3)


def test_plain_dbt_crosses_it(project: Project, oracle: Oracle) -> None:
    """`dbt build`, time and again: tests of the state hold where it crosses, too."""
    ids = TEXT[1 : CONTEXT + 1]
    arguments = f"{{token_ids: {ids}}}"
    dbt.invoke(project.directory, ["run-operation", "set_prompt", "--args", arguments])
    for _ in range(3):
        dbt.invoke(
            project.directory, ["build", "--select", "tag:step", "sequences", "inverse_frequencies"]
        )
    with project.target.connect(project) as connection:
        rows = connection.execute(
            "select token_id, has_read, is_long from tokens where not is_prompt order by position"
        ).fetchall()
    assert [row[0] for row in rows] == oracle.continued(ids, 3)
    assert [row[1:] for row in rows] == [(0, True), (67, True), (68, True)]


@pytest.mark.slow
def test_traced_it_is_a_table(project: Project, oracle: Oracle) -> None:
    """Angles by sequence, of a step that reads a long prompt."""
    ids = TEXT[:70]
    arguments = f"{{token_ids: {ids}}}"
    dbt.invoke(project.directory, ["run-operation", "set_prompt", "--args", arguments])
    traced = ["--select", "tag:step", "--vars", "{relama_trace: true}"]
    dbt.invoke(project.directory, ["build", *traced])
    with project.target.connect(project) as connection:
        angles = connection.execute(
            "select sequence_id, position, is_long from rotary_angles "
            "inner join step_input using (sequence_id, position) order by position"
        ).fetchall()
        chosen = connection.execute("select token_id from tokens where not is_prompt").fetchall()
    assert angles == [(0, position, True) for position in range(70)]
    assert chosen == [(oracle.continued(ids, 1)[0],)]


#: Texts of 57 to 87 tokens, which begin alike; two cross the original context as they go on.
TEXTS = [
    f"select a, b, c, d, e, f, g, h, i, j, k from m; tell me{text}"
    for text in ("", " a b c", " a b c d", " all of it again and again now", " more")
]
#: With the last, the fifth text has 66 tokens: it is read as one of 68, as with the first.
LABELS = ["yes it is", "no, it is", "maybe so", "not now"]


@pytest.fixture(params=[pytest.param("project", marks=pytest.mark.slow), "native"])
def desk(request: pytest.FixtureRequest, tmp_path: Path) -> UserProject:
    desk = UserProject(tmp_path / "desk", request.getfixturevalue(request.param))
    if request.param == "native":
        desk.allow_kernels()
    desk.seed("texts", "id,prompt", list(enumerate(TEXTS)))
    return desk


def test_rows(desk: UserProject, oracle: Oracle) -> None:
    """Each row by its own length, whatever else is in its batch."""
    query = "select * from {{ ref('texts') }}"
    plain = "chat=false, max_batch_tokens=8, batch_size=3"
    desk.model("done", f"materialized='relama_complete', max_tokens=9, {plain}", query)
    target = f"select *, 'x y z' as target from ({query}) as t"
    desk.model("scored", f"materialized='relama_score', {plain}", target)
    labels = f"materialized='relama_classify', labels={LABELS}, {plain}"
    desk.model("labelled", labels, query)
    desk.model("pooled", f"materialized='relama_embed', {plain.replace('chat=false, ', '')}", query)
    # All on one side of it: what they begin with is read once.
    few = f"{query} where id in (0, 4)"
    desk.model("short", f"materialized='relama_complete', max_tokens=3, {plain}", few)
    many = "select 'Read it, and ' || prompt as prompt, id from {{ ref('texts') }}"
    desk.model("long", f"materialized='relama_complete', max_tokens=3, {plain}", many)
    assert desk.dbt("build"), desk.output
    shared = [line for line in desk.output.splitlines() if "begin with are read once" in line]
    assert {line.split(":")[-2].split()[-1] for line in shared} == {"short", "long"}

    tokenizer = oracle.checkpoint.tokenizer()

    def encoded(text: str) -> list[int]:
        return list(tokenizer.encode(text, add_special_tokens=False).ids)

    def check(table: str, texts: dict[int, str]) -> None:
        columns = "id, prompt, completion, completion_tokens, logprob"
        rows = desk.rows(f"select {columns} from {table} order by id")
        for row_id, text, completion, count, logprob in rows:
            assert text == texts[row_id]
            ids = encoded(text)
            chosen = oracle.continued(ids, count)
            assert tokenizer.decode(chosen) == completion
            # Each token is of the text before it, which is one token shorter than with it.
            each = [
                float(oracle.logprobs([*ids, *chosen[:i]])[-1, chosen[i]]) for i in range(count)
            ]
            assert logprob == pytest.approx(sum(each), abs=1e-4)
        assert len(rows) == len(texts)

    check("done", dict(enumerate(TEXTS)))
    check("short", {0: TEXTS[0], 4: TEXTS[4]})
    check("long", {i: f"Read it, and {text}" for i, text in enumerate(TEXTS)})

    for text, logprob in desk.rows("select prompt, logprob from scored"):
        assert logprob == pytest.approx(oracle.score(encoded(text), encoded("x y z")), abs=1e-4)
    longest = max(len(encoded(label)) for label in LABELS)
    for text, probabilities in desk.rows("select prompt, probabilities from labelled"):
        ids = encoded(text)
        scores = [oracle.score(ids, encoded(label), len(ids) + longest) for label in LABELS]
        weights = np.exp(np.array(scores) - max(scores))
        assert list(probabilities.values()) == pytest.approx(weights / weights.sum(), abs=1e-5)
    for text, embedding in desk.rows("select prompt, embedding from pooled"):
        state = forward(
            oracle.checkpoint.config, oracle.checkpoint.tensors, encoded(text), "all"
        ).final_norm.mean(axis=0)
        assert embedding == pytest.approx(state / np.linalg.norm(state), abs=1e-5)
