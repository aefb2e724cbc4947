"""Pages of the KV cache: decoding across their ends, going back, and who removes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import duckdb
import numpy as np
import pytest

from relama.checkpoint import open_checkpoint
from relama.names import kv_cache, kv_pages
from relama.project.manifest import PAGE_SIZE, Project
from relama.reference import greedy
from relama.runtime import dbt
from relama.runtime.session import open_engine
from relama.runtime.statements import compiled
from tests.conftest import TINY_LLAMA

PROMPT = [1, 91, 89, 75, 88, 5, 46, 79, 2, 5, 1, 71, 89, 89]
GREEDY = (0.0, 0, 1.0, 0)


def oracle(token_ids: Sequence[int], count: int) -> list[int]:
    checkpoint = open_checkpoint(TINY_LLAMA)
    return greedy(checkpoint.config, checkpoint.tensors, token_ids, count)


def assert_pages_repeat_the_cache(
    project: Project, connection: duckdb.DuckDBPyConnection
) -> list[int]:
    """Every page holds what the cache holds at its positions; returns where pages begin."""
    starts: set[tuple[int, ...]] = set()
    for layer in range(project.config.num_hidden_layers):
        cache = {
            (position, head): (key, value)
            for position, head, key, value in connection.execute(
                f"select position, kv_head, key, value from {kv_cache(layer)}"
            ).fetchall()
        }
        pages = connection.execute(
            f"select kv_head, first_position, keys, dimensions from {kv_pages(layer)} order by all"
        ).fetchall()
        for head, first, keys, dimensions in pages:
            rows = [cache[position, head] for position in range(first, first + PAGE_SIZE)]
            assert keys == [key for key, _ in rows]
            np.testing.assert_array_equal(np.transpose(dimensions), [value for _, value in rows])
        for head in range(project.config.num_key_value_heads):
            starts.add(tuple(page[1] for page in pages if page[0] == head))
    assert len(starts) == 1  # All layers and heads have the same pages.
    return list(starts.pop())


def test_decoding_across_two_pages(tiny_project: Project) -> None:
    """Every id is the oracle's, and the prepared step gives the rows of a fresh one.

    The text for any number of tokens and the one for a single token agree as well.
    """
    steps = 135
    expected = oracle(PROMPT, steps)
    fresh_sql = compiled(tiny_project, ["step"], decode=True)["step"].sql
    general_sql = compiled(tiny_project, ["step"])["step"].sql
    with open_engine(tiny_project, "session", sequence_id=0) as engine:
        connection = engine.connection  # type: ignore[attr-defined]

        def rows(sql: str) -> list[Any]:
            return connection.execute(f"select * from ({sql}) order by all").fetchall()

        engine.start(PROMPT, GREEDY)
        ids = [engine.step()]
        while len(ids) < steps:
            cached = len(PROMPT) + len(ids) - 1
            near_an_end = min(cached % PAGE_SIZE, -cached % PAGE_SIZE) < 2
            fresh = rows(fresh_sql)
            general = rows(general_sql) if near_an_end else []
            ids.append(engine.step())
            assert rows("select * from step") == fresh
            for one, other in zip(fresh, general, strict=bool(general)):
                for a, b in zip(one, other, strict=True):
                    assert a == (pytest.approx(b, abs=1e-4) if isinstance(b, list | float) else b)
        assert ids == expected
        assert assert_pages_repeat_the_cache(tiny_project, connection) == [0, 64]


def test_a_long_prompt_is_packed_at_once(tiny_project: Project) -> None:
    prompt = [(7 * i) % 101 for i in range(190)]
    with open_engine(tiny_project, "session", sequence_id=0) as engine:
        engine.start(prompt, GREEDY)
        ids = [engine.step() for _ in range(6)]
        connection = engine.connection  # type: ignore[attr-defined]
        assert assert_pages_repeat_the_cache(tiny_project, connection) == [0, 64, 128]
    assert ids == oracle(prompt, 6)


def test_going_back_to_a_shorter_prefix(tiny_project: Project) -> None:
    """Ends of what stays on, before and behind the ends of pages."""
    with open_engine(tiny_project, "session", sequence_id=0) as engine:
        connection = engine.connection  # type: ignore[attr-defined]
        engine.start(PROMPT, GREEDY)
        tokens = [*PROMPT, *(engine.step() for _ in range(132))]
        for kept in (140, 129, 128, 127, 100, 65, 64, 63, 15):
            prompt = [*tokens[:kept], 7, 33]
            assert prompt[kept] != tokens[kept]
            engine.start(prompt, GREEDY)
            assert assert_pages_repeat_the_cache(tiny_project, connection) == [
                first for first in (0, 64) if first + PAGE_SIZE <= kept
            ]
            waiting = engine.state.set_tokens(prompt)  # type: ignore[attr-defined]
            assert waiting == kept, "a prefix that has been read is read again"
            ids = [engine.step() for _ in range(4)]
            assert ids == oracle(prompt, 4), kept
            tokens = [*prompt, *ids] if kept > 132 else tokens
            assert_pages_repeat_the_cache(tiny_project, connection)
            engine.start([*tokens, 7], GREEDY)
            engine.step()


def test_dbt_reads_pages_and_removes_what_tokens_does_not_vouch_for(
    tiny_project: Project,
) -> None:
    database = str(tiny_project.directory / "relama.duckdb")
    with open_engine(tiny_project, "session", sequence_id=0) as engine:
        engine.start(PROMPT, GREEDY)
        tokens = [*PROMPT, *(engine.step() for _ in range(60))]
    dbt.invoke(tiny_project.directory, ["run", "--select", "tag:step"])
    with duckdb.connect(database) as connection:
        assert assert_pages_repeat_the_cache(tiny_project, connection) == [0]
        ((last,),) = connection.execute("select max_by(token_id, position) from tokens").fetchall()
        assert [last] == oracle(tokens, 1)
        connection.execute("delete from tokens where position >= 50")
    dbt.invoke(tiny_project.directory, ["run", "--select", "tag:step"])
    with duckdb.connect(database) as connection:
        assert assert_pages_repeat_the_cache(tiny_project, connection) == []
        ((last,),) = connection.execute("select max_by(token_id, position) from tokens").fetchall()
    assert [last] == oracle(tokens[:50], 1)
