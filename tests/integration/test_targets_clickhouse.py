"""A project on ClickHouse: its numbers, plain dbt, and what a killed client leaves behind."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from relama.checkpoint import open_checkpoint
from relama.checkpoint.base import Tensor
from relama.errors import ProjectError
from relama.project.manifest import Project, load_project
from relama.project.writer import write_project
from relama.reference import greedy
from relama.runtime import dbt
from relama.runtime.build import build_project
from relama.runtime.compare import compare
from relama.runtime.load import load_weights
from relama.runtime.session import open_engine
from relama.targets import target_named
from relama.targets.clickhouse import _sentence
from tests.chdb_site import chdb_redirect
from tests.conftest import TINY_LLAMA, quiet
from tests.engines import CHDB_SITE
from tests.families import write_family
from tests.fixtures.make_tiny_llama import write_tiny_llama
from tests.targets import (
    GREEDY,
    KILLS,
    PROMPT,
    SAMPLED,
    assert_equals_the_oracle,
    assert_in_review,
    continued,
    make_project_on,
)

CHECKPOINT = open_checkpoint(TINY_LLAMA)
TENSORS = CHECKPOINT.tensors


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the fixture checkpoint's project and its ClickHouse; to be copied."""
    folder = tmp_path_factory.mktemp("built")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(chdb_redirect.VARIABLE, str(folder / "clickhouse"))
        patch.setenv("PYTHONPATH", str(CHDB_SITE), prepend=":")
        make_project_on("clickhouse", folder / "tiny", TINY_LLAMA)
    return folder


@pytest.fixture
def tiny(built: Path, clickhouse_directory: Path, tmp_path: Path) -> Iterator[Project]:
    """A copy that the test may change."""
    shutil.copytree(built / "clickhouse", clickhouse_directory, symlinks=True)
    shutil.copytree(built / "tiny", tmp_path / "copy", symlinks=True)
    yield load_project(tmp_path / "copy")


def selected(project: Project, sql: str) -> list[tuple[Any, ...]]:
    with project.target.connect(project) as connection:
        return list(connection.execute(sql).fetchall())


def assert_whole_tokens(project: Project) -> None:
    """The cache holds every token that has been read, once a head and a layer."""
    heads = project.config.num_key_value_heads * project.config.num_hidden_layers
    ((rows, positions, last),) = selected(
        project, "select count(), uniqExact(position), max(position) from kv_cache"
    )
    ((read, tokens),) = selected(project, "select max(has_read), max(position) from tokens")
    assert (rows, positions, last) == (read * heads, read, read - 1)
    assert tokens == read


def test_fixture(tiny: Project) -> None:
    assert_equals_the_oracle(tiny, CHECKPOINT)
    differences = compare(tiny, open_checkpoint(TINY_LLAMA), PROMPT)
    assert max(d.relative for d in differences) < 1e-5


@pytest.mark.parametrize(
    "overrides",
    [
        pytest.param({"tie_word_embeddings": True, "dialect": "v4"}, id="tied, v4 dialect"),
        pytest.param({"attention_bias": False, "mlp_bias": False, "head_dim": 16}, id="no bias"),
    ],
)
def test_other_shapes(
    overrides: dict[str, Any], clickhouse_directory: Path, tmp_path: Path
) -> None:
    write_tiny_llama(tmp_path / "checkpoint", **overrides)
    project = make_project_on(
        "clickhouse", tmp_path / "project", tmp_path / "checkpoint", tested=False
    )
    assert_equals_the_oracle(project, open_checkpoint(tmp_path / "checkpoint"))


def tensor(name: str, rows: np.ndarray[Any, Any]) -> Tensor:
    return Tensor(name, rows.shape, "F32", lambda start, stop: rows[start:stop])


def stored_tensors(project: Project) -> dict[str, Tensor]:
    """The checkpoint's tensors, with what the tables of weights hold in their place."""
    tensors = dict(TENSORS)
    with project.target.connect(project) as connection:
        for weight in project.graph.weights.values():
            if weight.rows == 1:
                continue
            held = connection.execute(
                f"select vector, scale from {weight.name} order by row_id"
            ).fetchall()
            matrix = np.array([np.array(codes) * scale for codes, scale in held], np.float32)
            first = 0
            for part in weight.parts:
                tensors[part.tensor] = tensor(part.tensor, matrix[first : first + part.rows])
                first += part.rows
    return tensors


def test_the_compiled_step_is_the_one_in_review(tiny: Project) -> None:
    assert_in_review(tiny, "clickhouse")


def test_int8_computes_with_what_is_stored(clickhouse_directory: Path, tmp_path: Path) -> None:
    project = make_project_on("clickhouse", tmp_path / "tiny", TINY_LLAMA, storage="int8")
    tensors = stored_tensors(project)
    assert np.abs(tensors["lm_head.weight"].read() - TENSORS["lm_head.weight"].read()).max() > 1e-5
    assert_equals_the_oracle(project, CHECKPOINT, tensors=tensors)


def test_sampling_draws_what_it_draws_on_duckdb(tiny: Project, tiny_project: Project) -> None:
    assert continued(tiny, 12, SAMPLED) == continued(tiny_project, 12, SAMPLED)


def test_plain_dbt_takes_a_step_a_run(tiny: Project) -> None:
    """The build has taken the first step."""
    dbt.invoke(tiny.directory, ["run", "--select", "tag:step"])
    dbt.invoke(tiny.directory, ["run", "--select", "tag:step"])
    ids = selected(tiny, "select token_id, is_prompt from tokens order by position")
    prompt = [token_id for token_id, is_prompt in ids if is_prompt]
    generated = [token_id for token_id, is_prompt in ids if not is_prompt]
    assert generated == greedy(CHECKPOINT.config, TENSORS, prompt, 3)
    assert_whole_tokens(tiny)
    dbt.invoke(tiny.directory, ["test", "--select", "tag:state"])


def test_engine_dbt(tiny: Project) -> None:
    with open_engine(tiny, "dbt", sequence_id=0) as engine:
        engine.start(PROMPT, GREEDY)
        ids = [engine.step() for _ in range(2)]
    assert ids == greedy(CHECKPOINT.config, TENSORS, PROMPT, 2)
    assert_whole_tokens(tiny)


def test_what_a_killed_step_has_left_is_removed(tiny: Project) -> None:
    """Keys and values of another sequence, and of positions that the tokens do not know."""
    before = continued(tiny, 3)
    insert = (
        "insert into kv_cache select layer, {}, position + {}, kv_head, key, value from kv_cache "
        "where sequence_id = 0"
    )
    for sequence_id, by in ((0, 1000), (9, 0)):
        with tiny.target.connect(tiny) as connection:
            connection.execute(insert.format(sequence_id, by))
    with open_engine(tiny, "session", sequence_id=0):
        pass
    assert_whole_tokens(tiny)
    with tiny.target.connect(tiny) as connection:
        connection.execute(insert.format(0, 1000))
    dbt.invoke(tiny.directory, ["run", "--select", "tag:step"])
    assert_whole_tokens(tiny)
    assert continued(tiny, 3) == before


@pytest.mark.usefixtures("as_programs")
def test_a_killed_client_leaves_whole_tokens(tiny: Project) -> None:
    program = (
        "import sys\n"
        "from relama.project.manifest import load_project\n"
        "from relama.runtime.session import open_engine\n"
        "with open_engine(load_project(sys.argv[1]), 'session', sequence_id=0) as engine:\n"
        f"    engine.start({PROMPT}, {GREEDY})\n"
        "    while True:\n"
        "        print(engine.step(), flush=True)\n"
    )
    expected = greedy(CHECKPOINT.config, TENSORS, PROMPT, 40)
    for place in range(KILLS):
        with subprocess.Popen(
            [sys.executable, "-c", program, str(tiny.directory)], stdout=subprocess.PIPE, text=True
        ) as client:
            assert client.stdout is not None
            client.stdout.readline()
            time.sleep(0.023 * place)
            client.send_signal(signal.SIGKILL)
        with open_engine(tiny, "session", sequence_id=0):
            pass
        assert_whole_tokens(tiny)
        held = selected(tiny, "select token_id from tokens order by position")
        ids = [token_id for (token_id,) in held]
        assert ids == [*PROMPT, *expected][: len(ids)]
    with open_engine(tiny, "session", sequence_id=0) as engine:
        engine.start(ids, GREEDY)
        assert engine.step() == greedy(CHECKPOINT.config, TENSORS, ids, 1)[0]


def test_two_sessions_at_once_are_noticed(tiny: Project) -> None:
    """ClickHouse has no locks: the token of another session is seen after a step."""
    before = continued(tiny, 3)
    with open_engine(tiny, "session", sequence_id=0) as engine:
        engine.start(PROMPT, GREEDY)
        engine.step()
        with tiny.target.connect(tiny) as other:
            other.execute(
                "insert into tokens (sequence_id, position, token_id, is_prompt, has_read) "
                f"values (0, {len(PROMPT) + 1}, 7, false, {len(PROMPT) + 1})"
            )
        with pytest.raises(ProjectError, match="has been changed by another meanwhile"):
            engine.step()
    assert continued(tiny, 3) == before
    assert_whole_tokens(tiny)


def test_two_sequences_at_once(tiny: Project) -> None:
    """One step reads prompts of different lengths, and the next one token of each."""
    other = PROMPT[3:7]
    with tiny.target.connect(tiny) as connection:
        for table in tiny.state_tables:
            connection.execute(f"truncate table {table}")
        for sequence_id, prompt in ((0, PROMPT), (5_000_000_000, other)):
            values = ", ".join(f"({sequence_id}, {i}, {t}, true, 0)" for i, t in enumerate(prompt))
            connection.execute(
                "insert into tokens (sequence_id, position, token_id, is_prompt, has_read) "
                f"values {values}"
            )
    for _ in range(2):
        dbt.invoke(tiny.directory, ["run", "--select", "tag:step"])
    for sequence_id, prompt in ((0, PROMPT), (5_000_000_000, other)):
        rows = selected(
            tiny,
            f"select token_id from tokens where sequence_id = {sequence_id} and not is_prompt "
            "order by position",
        )
        assert [token_id for (token_id,) in rows] == greedy(CHECKPOINT.config, TENSORS, prompt, 2)


def test_a_step_without_tokens_adds_nothing(tiny: Project) -> None:
    with tiny.target.connect(tiny) as connection:
        for table in tiny.state_tables:
            connection.execute(f"truncate table {table}")
    dbt.invoke(tiny.directory, ["run", "--select", "tag:step"])
    assert selected(tiny, "select count() from tokens") == [(0,)]


def test_a_second_build_finds_what_is_there(tiny: Project) -> None:
    assert build_project(tiny, again=True, on_progress=quiet)["nodes"] > 10
    assert build_project(tiny, again=False, on_progress=quiet)["already_built"]


def test_logits_that_are_no_numbers_are_refused(tiny: Project) -> None:
    with tiny.target.connect(tiny) as connection:
        connection.execute(
            "alter table lm_head_weight update vector = arrayMap(x -> nan, vector) where row_id = 7"
        )
    with pytest.raises(ProjectError, match="The logits are NaN or infinite"):
        continued(tiny, 1)
    assert selected(tiny, "select count() from kv_cache") == [(0,)]
    assert selected(tiny, "select count() from tokens where not is_prompt") == [(0,)]


def test_loading_goes_on_where_it_was(clickhouse_directory: Path, tmp_path: Path) -> None:
    project = write_project(
        tmp_path / "tiny", open_checkpoint(TINY_LLAMA), target=target_named("clickhouse")
    )
    assert not project.target.is_there(project)
    with pytest.raises(ProjectError, match="has no database 'tiny'; run: relama load"):
        continued(project, 1)
    first = load_weights(project, quiet)
    assert (first["kept"], first["loaded"]) == (0, len(list((tmp_path / "tiny/weights").iterdir())))
    client = any_client()
    client.command("drop table tiny_staged.norm")
    client.command("create table tiny_staged.norm__loading (a Int32) engine = Memory")
    client.command("alter table tiny_staged.lm_head modify comment 'relama:of another checkpoint'")
    client.close()
    second = load_weights(project, quiet)
    assert (second["loaded"], second["kept"]) == (2, first["loaded"] - 2)
    client = any_client()
    assert client.command("select count() from tiny_staged.lm_head") == project.config.vocab_size
    client.command("alter table tiny_staged.norm modify comment 'mine'")
    client.close()
    with pytest.raises(ProjectError, match="was not loaded by relama"):
        load_weights(project, quiet)


def any_client() -> Any:
    import clickhouse_connect

    return clickhouse_connect.get_client()


def test_what_cannot_be_had_is_said_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No server listens at the port."""
    monkeypatch.delenv(chdb_redirect.VARIABLE, raising=False)
    monkeypatch.setenv("CLICKHOUSE_PORT", "1")
    monkeypatch.setenv("CLICKHOUSE_PASSWORD", "hunter2")
    project = write_project(
        tmp_path / "tiny", open_checkpoint(TINY_LLAMA), target=target_named("clickhouse")
    )
    with pytest.raises(ProjectError) as raised, project.target.connect(project):
        pass
    assert str(raised.value) == "ClickHouse at localhost:1: it does not answer."


def test_what_a_server_says_is_one_sentence_without_the_password() -> None:
    """As ClickHouse 26 says it over HTTP."""
    output = {"host": "db", "port": 8123, "password": "hunter2"}
    said = RuntimeError(
        "HTTPDriver for http://db:8123 received ClickHouse error code 516\n Code: 516. "
        "DB::Exception: me: Authentication failed: hunter2 is incorrect, or there is no user "
        "with such name.\n\nIf you use ClickHouse Cloud, the password can be reset. "
        "(AUTHENTICATION_FAILED) (version 26.9.2.1 (official build))"
    )
    assert _sentence(said, output) == (
        "ClickHouse at db:8123: me: Authentication failed: *** is incorrect, or there is no user "
        "with such name."
    )


def test_what_an_older_server_says_is_one_sentence() -> None:
    """As ClickHouse 18 says it over HTTP."""
    output = {"host": "db", "port": 8123, "password": ""}
    said = RuntimeError(
        "Code: 47, e.displayText() = DB::Exception: Unknown identifier: readonly, "
        "e.what() = DB::Exception (for url http://db:8123)"
    )
    assert _sentence(said, output) == "ClickHouse at db:8123: Unknown identifier: readonly."


@pytest.mark.usefixtures("as_programs")
def test_a_directory_that_another_process_has(tiny: Project) -> None:
    program = "import clickhouse_connect as c; c = c.get_client(); print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with (
            pytest.raises(ProjectError, match="which another process may have open"),
            tiny.target.connect(tiny),
        ):
            pass
        other.communicate("\n")
    with tiny.target.connect(tiny):
        pass


def test_an_older_server_is_refused(tiny: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relama.targets.clickhouse._LEAST", 99)
    with (
        pytest.raises(ProjectError, match=r"^The server is ClickHouse 2\S+; relama needs 99"),
        tiny.target.connect(tiny),
    ):
        pass


def test_a_trace_is_tested(clickhouse_directory: Path, tmp_path: Path) -> None:
    """Every activation is a table with data tests, which find what is wrong with one."""
    project = make_project_on("clickhouse", tmp_path / "tiny", TINY_LLAMA, trace=True)
    ((weights,),) = selected(project, "select count() from layer_01__attention_weights")
    assert weights > 0
    with project.target.connect(project) as connection:
        connection.execute(
            "alter table layer_01__attention_weights "
            "update vector = arrayMap(x -> x * 2, vector) where position = 3"
        )
        connection.execute(
            "alter table final_norm update vector = arrayMap(x -> nan, vector) where true"
        )
    with pytest.raises(ProjectError):
        dbt.invoke(project.directory, ["test", "--select", "layer_01__attention_weights"])
    with pytest.raises(ProjectError):
        dbt.invoke(project.directory, ["test", "--select", "final_norm"])


@pytest.mark.parametrize("name", ["deepseek_v3", "gemma2", "granite", "phi3_longrope_partial"])
def test_another_family(name: str, clickhouse_directory: Path, tmp_path: Path) -> None:
    """Windows, soft caps, multipliers, norms behind blocks, latents, experts, long factors."""
    directory = write_family(tmp_path / name, name)
    project = make_project_on("clickhouse", tmp_path / "project", directory, tested=False)
    assert_equals_the_oracle(project, open_checkpoint(directory))
