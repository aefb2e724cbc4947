"""The two engines, and the state that they leave behind whatever happens."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import pytest

from relama.names import kv_cache, kv_pages
from relama.project.manifest import PAGE_SIZE, Project
from relama.runtime import dbt
from relama.runtime.database import open_database
from relama.runtime.session import Settings, State, generate, open_engine
from relama.runtime.statements import compiled
from relama.runtime.tokenizer import ProjectTokenizer

PROMPT = [46, 75, 82, 82, 85]
SAMPLED = (0.8, 20, 0.9, 7)
GREEDY = (0.0, 0, 1.0, 0)


def continued(project: Project, engine_name: str, count: int, sampling=GREEDY) -> list[int]:
    with open_engine(project, engine_name, sequence_id=0) as engine:
        engine.start(PROMPT, sampling)
        return [engine.step() for _ in range(count)]


def assert_whole_tokens(project: Project) -> int:
    """Every cache holds exactly the positions before the last predicted one; returns them.

    No page holds any other.
    """
    with open_database(project) as connection:
        ((read,),) = connection.execute(
            "select has_read from sequences where sequence_id = 0"
        ).fetchall()
        for layer in range(project.config.num_hidden_layers):
            rows = connection.execute(
                f"select position, kv_head from {kv_cache(layer)} order by all"
            ).fetchall()
            heads = project.config.num_key_value_heads
            assert rows == [(p, h) for p in range(read) for h in range(heads)]
            ((paged,),) = connection.execute(
                f"select coalesce(max(first_position), -{PAGE_SIZE}) from {kv_pages(layer)}"
            ).fetchall()
            assert paged + PAGE_SIZE <= read
    return int(read)


def test_engines_give_identical_ids(tiny_project: Project) -> None:
    expected = continued(tiny_project, "session", 8)
    assert continued(tiny_project, "dbt", 8) == expected
    assert_whole_tokens(tiny_project)


def test_engines_sample_identically(tiny_project: Project) -> None:
    expected = continued(tiny_project, "session", 3, SAMPLED)
    assert expected != continued(tiny_project, "session", 3)
    assert continued(tiny_project, "dbt", 3, SAMPLED) == expected


def test_the_same_seed_gives_the_same_tokens(tiny_project: Project) -> None:
    first = continued(tiny_project, "session", 12, SAMPLED)
    assert continued(tiny_project, "session", 12, SAMPLED) == first
    assert continued(tiny_project, "session", 12, (*SAMPLED[:3], 8)) != first


def test_a_prepared_step_does_not_go_stale(tiny_project: Project) -> None:
    """DuckDB bakes statistics into prepared plans unless told otherwise (64 steps, every row)."""
    general = compiled(tiny_project, ["step"])["step"].sql
    decode = compiled(tiny_project, ["step"], decode=True)["step"].sql
    with open_engine(tiny_project, "session", sequence_id=0) as engine:
        engine.start(PROMPT, GREEDY)
        connection = engine.connection  # type: ignore[attr-defined]
        for i in range(64):
            sql = decode if i else general
            fresh = connection.execute(f"select * from ({sql}) order by all").fetchall()
            engine.step()
            prepared = connection.execute("select * from step order by all").fetchall()
            assert prepared == fresh


@pytest.mark.usefixtures("as_programs")
def test_a_killed_session_leaves_whole_tokens(tiny_project: Project) -> None:
    command = [sys.executable, "-m", "relama", "generate", str(tiny_project.directory)]
    counts = set()
    for seconds in (0.0, 0.05, 0.1, 0.2, 0.4, 0.8):
        with subprocess.Popen(
            [*command, "Hello", "--max-tokens", "200"], stdout=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            process.stdout.read(1)  # The first token is there.
            time.sleep(seconds)
            process.send_signal(signal.SIGKILL)
        counts.add(assert_whole_tokens(tiny_project))
    assert len(counts) > 1 and max(counts) < 200


def test_a_step_that_dbt_did_not_finish_is_done_again(tiny_project: Project) -> None:
    """Killed between two appends: some caches are ahead of `tokens`."""
    expected = continued(tiny_project, "session", 4)
    directory = tiny_project.directory
    with open_engine(tiny_project, "dbt", sequence_id=0) as engine:
        engine.start(PROMPT, GREEDY)
        ids = [engine.step()]
        dbt.invoke(directory, ["run", "--select", "step", "layer_00__kv_cache"])
        with duckdb.connect(str(directory / "relama.duckdb")) as connection:
            ((first,),) = connection.execute("select count(*) from layer_00__kv_cache").fetchall()
            ((second,),) = connection.execute("select count(*) from layer_01__kv_cache").fetchall()
            assert first > second  # The interruption is real.
        ids += [engine.step() for _ in range(3)]
    assert ids == expected
    assert_whole_tokens(tiny_project)


def test_a_failing_step_changes_nothing(tiny_project: Project) -> None:
    with open_engine(tiny_project, "session", sequence_id=0) as engine:
        engine.start(PROMPT, GREEDY)
        engine.step()
        connection = engine.connection  # type: ignore[attr-defined]
        before = connection.execute("select * from tokens order by all").fetchall()
        # A weight of the wrong length makes the dot product fail in the last layer.
        connection.execute("update layer_01__down_proj_weight set block_0 = [[1.0::float]]")
        with pytest.raises(duckdb.Error):
            engine.step()
        assert connection.execute("select * from tokens order by all").fetchall() == before
    assert_whole_tokens(tiny_project)


def test_the_cache_is_kept_for_what_a_conversation_shares(tiny_project: Project) -> None:
    with open_engine(tiny_project, "session", sequence_id=0) as engine:
        engine.start(PROMPT, GREEDY)
        ids = [engine.step() for _ in range(5)]
        longer = [*PROMPT, *ids, 46, 75]
        engine.start(longer, GREEDY)
        ((waiting,),) = engine.connection.execute(  # type: ignore[attr-defined]
            "select count(*) from tokens where position >= (select has_read from sequences)"
        ).fetchall()
        assert waiting == 3  # The last generated token, which no step has read, and two new ones.
        kept = [engine.step() for _ in range(3)]
    with open_engine(tiny_project, "session", sequence_id=0) as engine:
        engine.start([1], GREEDY)
        engine.step()
        engine.start(longer, GREEDY)
        assert [engine.step() for _ in range(3)] == kept


@pytest.mark.parametrize("engine_name", ["session", "dbt"])
def test_sequences_leave_each_other_alone(tiny_project: Project, engine_name: str) -> None:
    """Their tokens, caches and pages stay, and no sequence attends to another."""
    others = {1: [7, 33, 46, 75], 5_000_000_000: [9] * (PAGE_SIZE + 2)}

    def held(sequence_id: int) -> list[tuple[object, ...]]:
        with open_database(tiny_project) as connection:
            tables = ["tokens", kv_cache(1), kv_pages(1)]
            return [
                row
                for table in tables
                for row in connection.execute(
                    f"select * from {table} where sequence_id = ? order by all", [sequence_id]
                ).fetchall()
            ]

    count = 3
    expected = {0: continued(tiny_project, "session", count)}
    for sequence_id, prompt in others.items():
        with open_engine(tiny_project, "session", sequence_id=0) as engine:
            engine.start(prompt, GREEDY)
            expected[sequence_id] = [engine.step() for _ in range(count)]
    with open_database(tiny_project) as connection:
        State(tiny_project, connection, sequence_id=0).clear()
    for sequence_id, prompt in {**others, 0: PROMPT}.items():
        before = {other: held(other) for other in expected if other != sequence_id}
        with open_engine(tiny_project, engine_name, sequence_id=sequence_id) as engine:
            engine.start(prompt, GREEDY)
            assert [engine.step() for _ in range(count)] == expected[sequence_id]
        assert before == {other: held(other) for other in before}
        assert held(sequence_id)


def test_generation_ends_at_the_context(tiny_project: Project) -> None:
    context = tiny_project.config.max_position_embeddings
    tokenizer = ProjectTokenizer(tiny_project.directory)
    prompt = [46 + i % 7 for i in range(context - 2)]
    with open_engine(tiny_project, "session", sequence_id=0) as engine:
        generation = generate(tiny_project, engine, tokenizer, prompt, Settings(max_new_tokens=50))
    assert len(generation.ids) == 3
    assert generation.finish_reason == "length"


@pytest.mark.usefixtures("as_programs")
def test_dbt_alone_needs_no_relama(tiny_project: Project, tmp_path: Path) -> None:
    """Plain dbt in a directory with a hostile name: build, one more token, test, ls, docs."""
    directory = tmp_path / "it's; {{ 1 }}"
    tiny_project.directory.rename(directory)
    (directory / "relama.duckdb").unlink()
    dbt.invoke(directory, ["build"])
    for command in (["run", "--select", "tag:step"], ["test"], ["ls"], ["docs", "generate"]):
        dbt.invoke(directory, command)
    with duckdb.connect(str(directory / "relama.duckdb")) as connection:
        ((generated,),) = connection.execute(
            "select count(*) from transcript where not is_prompt"
        ).fetchall()
    assert generated == 2


def test_state_refuses_tokens_that_do_not_exist(tiny_project: Project) -> None:
    with open_database(tiny_project) as connection:
        state = State(tiny_project, connection, sequence_id=0)
        for bad in ([], [101], [-1], [1] * 257):
            with pytest.raises(Exception, match=r"prompt|token id"):
                state.set_tokens(bad)


def test_a_step_looks_for_no_module(tiny_project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """DuckDB looks for modules to see what a parameter is, and drops a Ctrl-C meanwhile."""
    looked_for: list[str] = []

    class Finder:
        @staticmethod
        def find_spec(name: str, *_: object) -> None:
            looked_for.append(name)

    with open_engine(tiny_project, "session", sequence_id=0) as engine:
        engine.start(PROMPT, GREEDY)
        engine.step()
        monkeypatch.setattr(sys, "meta_path", [Finder, *sys.meta_path])
        for _ in range(3):
            engine.step()
    assert looked_for == []


def test_a_moved_project_is_not_compiled_again(
    tiny_project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fixture is a copy of the project that was built."""

    def invoked(*_: object) -> None:
        raise AssertionError("dbt was called")

    monkeypatch.setattr(dbt, "invoke", invoked)
    with open_engine(tiny_project, "session", sequence_id=0) as engine:
        engine.start(PROMPT, GREEDY)
        assert 0 <= engine.step() < tiny_project.config.vocab_size
