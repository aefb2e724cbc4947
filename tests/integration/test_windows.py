"""Caches of layers with a sliding window: what no position can see any more goes, and what one
can see again, when a text is taken back, is there or is read anew.

The models attend to 12 positions; in `gemma3` every second layer attends to all.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import duckdb
import numpy as np
import pytest

from relama.checkpoint import open_checkpoint
from relama.errors import ProjectError
from relama.names import kv_cache, kv_pages
from relama.project.manifest import PAGE_SIZE, Project, load_project
from relama.project.writer import write_project
from relama.reference import forward, greedy, log_softmax
from relama.runtime import dbt
from relama.runtime.database import open_database
from relama.runtime.session import Session, open_engine
from tests.families import family, write_family
from tests.targets import GREEDY

WINDOW = 12
#: What a cache of a window holds at most: what is seen, as much again for a text that is taken
#: back, what stands before that in its page, and what comes until the next page is full.
MOST = 2 * WINDOW - 1 + 2 * (PAGE_SIZE - 1)
PROMPT = [1, 46, 79, 2, 5, 1, 71, 89]
LONG = 244  # of a context of 256


def oracle(project: Project, token_ids: Sequence[int], count: int) -> list[int]:
    checkpoint = family(project.name)
    return greedy(checkpoint.config, checkpoint.tensors, token_ids, count)


@pytest.fixture(
    scope="module",
    params=[
        "mistral native",
        "gemma3 sql",
        pytest.param("mistral sql", marks=pytest.mark.slow),
        pytest.param("gemma3 native", marks=pytest.mark.slow),
    ],
)
def windowed(
    request: pytest.FixtureRequest, kernels_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> Project:
    """A project whose state has read a long text, which `tokens_of` gives."""
    name, arithmetic = request.param.split()
    directory = tmp_path_factory.mktemp("windowed")
    project = write_project(
        directory / name,
        open_checkpoint(write_family(directory / "checkpoint", name)),
        kernels=kernels_file if arithmetic == "native" else None,
    )
    dbt.invoke(project.directory, ["build", "--exclude-resource-type", "test"])
    assert project.windows == ({0: WINDOW} if name == "gemma3" else {0: WINDOW, 1: WINDOW})
    most = 0
    with open_engine(project, "session", sequence_id=0) as engine:
        assert isinstance(engine, Session)
        engine.start(PROMPT, GREEDY)
        for step in range(LONG - len(PROMPT)):
            engine.step()
            if step % 5 == 0:
                most = max(most, *cached(engine.connection, project, list(project.windows)))
    assert PAGE_SIZE < most <= MOST
    return project


@pytest.fixture
def project(windowed: Project, tmp_path: Path) -> Project:
    """A copy of it."""
    shutil.copytree(windowed.directory, tmp_path / windowed.name, symlinks=True)
    return load_project(tmp_path / windowed.name)


def cached(
    connection: duckdb.DuckDBPyConnection, project: Project, layers: Sequence[int]
) -> list[int]:
    """How many positions the caches of layers hold; every head has as many rows."""
    counts = []
    for layer in layers:
        ((rows, positions),) = connection.execute(
            f"select count(*), count(distinct position) from {kv_cache(layer)}"
        ).fetchall()
        assert rows == positions * project.config.num_key_value_heads
        counts.append(positions)
    return counts


def tokens_of(project: Project) -> list[int]:
    with open_database(project) as connection:
        rows = connection.execute("select token_id from tokens order by position").fetchall()
    return [token_id for (token_id,) in rows]


def continued(project: Project, token_ids: Sequence[int], count: int) -> tuple[int, list[int]]:
    """How many tokens need not be read, and the ids that follow."""
    with open_engine(project, "session", sequence_id=0) as engine:
        assert isinstance(engine, Session)
        engine.start(token_ids, GREEDY)
        return engine.state.has_read(), [engine.step() for _ in range(count)]


def assert_all_that_is_seen(connection: duckdb.DuckDBPyConnection, project: Project) -> None:
    """Of each layer: no gap, nothing from `has_read` on, and what the next position sees."""
    ((has_read,),) = connection.execute("select max(has_read) from tokens").fetchall()
    layers = range(project.config.num_hidden_layers)
    for layer, count in zip(layers, cached(connection, project, layers), strict=True):
        ((first, last),) = connection.execute(
            f"select min(position), max(position) from {kv_cache(layer)}"
        ).fetchall()
        assert (last, count) == (has_read - 1, has_read - first)
        assert first <= (max(0, has_read + 1 - WINDOW) if layer in project.windows else 0)
        assert count <= MOST or layer not in project.windows
        ((page,),) = connection.execute(
            f"select coalesce(min(first_position), {first}) from {kv_pages(layer)}"
        ).fetchall()
        assert page == first


def test_a_long_text_is_the_oracles_from_caches_of_a_window(project: Project) -> None:
    tokens = tokens_of(project)
    assert tokens == [*PROMPT, *oracle(project, PROMPT, LONG - len(PROMPT))]
    with open_database(project) as connection:
        assert_all_that_is_seen(connection, project)
        held = cached(connection, project, range(project.config.num_hidden_layers))
    assert held == [243 - 128 if layer in project.windows else 243 for layer in (0, 1)]


def test_dbt_says_whether_all_is_there_that_is_seen(project: Project) -> None:
    if project.name == "gemma3":
        dbt.invoke(project.directory, ["test", "--select", "tag:state"])
        return
    with open_database(project) as connection:
        connection.execute(f"delete from {kv_cache(0)} where position < {LONG - WINDOW + 1}")
    with pytest.raises(ProjectError, match="whole_tokens"):
        dbt.invoke(project.directory, ["test", "--select", "tag:state"])


def test_a_text_that_is_taken_back(project: Project) -> None:
    """It goes on from there, or from its start where the caches have lost what it sees."""
    tokens = tokens_of(project)
    has_read = LONG - 1
    with open_engine(project, "session", sequence_id=0) as engine:
        assert isinstance(engine, Session)
        ways = set()
        for shared in (242, 240, 232, 229, 205, 202, 191, 150, 129, 120, 63, 20):
            prompt = [*tokens[:shared], (tokens[shared] + 1) % 101, 33]
            engine.start(prompt, GREEDY)
            kept = engine.state.has_read()
            assert kept == shared or (kept == 0 and shared < has_read - WINDOW)
            assert [engine.step() for _ in range(4)] == oracle(project, prompt, 4), shared
            assert_all_that_is_seen(engine.connection, project)
            ways.add(kept > 0)
            has_read = len(prompt) + 3
    assert ways == {False, True}


def test_a_prompt_that_leaves_no_page_to_a_window(project: Project) -> None:
    """Where pages end, a layer that attends to all says, if there is one."""
    prompt = [(7 * i + i * i) % 101 for i in range(160)]
    with open_engine(project, "session", sequence_id=0) as engine:
        assert isinstance(engine, Session)
        engine.start(prompt, GREEDY)
        ids = [engine.step() for _ in range(8)]
        assert ids == oracle(project, prompt, 8)
        rows = engine.connection.execute(
            "select logprob from tokens where logprob is not null order by position"
        ).fetchall()
        assert_all_that_is_seen(engine.connection, project)
        pages = engine.connection.execute(f"select count(*) from {kv_pages(0)}").fetchall()
        assert pages == [(0,)]
    checkpoint = family(project.name)
    logits = forward(checkpoint.config, checkpoint.tensors, [*prompt, *ids], "all").logits
    expected = log_softmax(logits)[np.arange(159, 167), ids]
    np.testing.assert_allclose([logprob for (logprob,) in rows], expected, atol=1e-4)


def test_turns_of_a_conversation(project: Project) -> None:
    """Each goes on where the last has ended, but for a word of it; another text is read anew."""
    tokens = tokens_of(project)[:100]
    with open_engine(project, "session", sequence_id=0) as engine:
        for turn in range(4):
            tokens = [*tokens[:-3], 40 + turn, 7, 50, 60 + turn]
            engine.start(tokens, GREEDY)
            ids = [engine.step() for _ in range(20)]
            assert ids == oracle(project, tokens, 20)
            tokens += ids


def test_the_engine_dbt_forgets(project: Project) -> None:
    prompt = [(7 * i) % 101 for i in range(180)]
    with open_engine(project, "dbt", sequence_id=0) as engine:
        engine.start(prompt, GREEDY)
        assert [engine.step()] == oracle(project, prompt, 1)
    with open_database(project) as connection:
        assert_all_that_is_seen(connection, project)


def test_tokens_that_are_taken_away_beneath_dbt(project: Project) -> None:
    """Its next step reads all of a sequence again whose windows have lost their past."""
    tokens = tokens_of(project)[:100]
    with open_database(project) as connection:
        connection.execute("delete from tokens where position >= 100")
    dbt.invoke(project.directory, ["run", "--select", "tag:step"])
    assert tokens_of(project) == [*tokens, *oracle(project, tokens, 1)]
    with open_database(project) as connection:
        ((has_read, first),) = connection.execute(
            f"select (select max(has_read) from tokens), min(position) from {kv_cache(0)}"
        ).fetchall()
    assert (has_read, first) == (100, 0)


def test_within_a_memory_limit(project: Project) -> None:
    """A prompt comes in parts, and each forgets what the next does not see."""
    prompt = [(7 * i + i * i) % 101 for i in range(150)]
    with open_engine(project, "session", 2_000_000_000, sequence_id=0) as engine:
        assert isinstance(engine, Session)
        engine.start(prompt, GREEDY)
        assert [engine.step() for _ in range(10)] == oracle(project, prompt, 10)
        assert_all_that_is_seen(engine.connection, project)


def test_another_sequence_keeps_what_it_has(project: Project) -> None:
    tokens = tokens_of(project)
    with open_engine(project, "session", sequence_id=3) as engine:
        engine.start(PROMPT[:3], GREEDY)
        ids = [engine.step() for _ in range(150)]
    assert ids == oracle(project, PROMPT[:3], 150)
    kept, ids = continued(project, [*tokens, 7], 3)
    assert kept == len(tokens) - 1
    assert ids == oracle(project, [*tokens, 7], 3)


@pytest.mark.slow
def test_pages_are_made_of_what_native_steps_have_left(project: Project) -> None:
    """And the other way: each session finds the caches as any other has left them."""
    settings = project.directory / "dbt_project.yml"
    text = settings.read_text()
    if "relama_kernels: true" not in text:
        pytest.skip("no native kernels")
    tokens = tokens_of(project)[:170]
    for value in ("false", "true", "false"):
        settings.write_text(text.replace("relama_kernels: true", f"relama_kernels: {value}"))
        _, ids = continued(project, tokens, 25)
        assert ids == oracle(project, tokens, 25)
        tokens += ids
