"""Every target but DuckDB: the same numbers, ids and state, on real servers.

What a test needs of a database is a `Kind`. Those of DuckDB alone are in the other files.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from relama.checkpoint import open_checkpoint
from relama.errors import ProjectError
from relama.project.manifest import Project
from relama.project.writer import write_project
from relama.reference import greedy
from relama.runtime.build import build_project
from relama.runtime.load import load_weights
from relama.runtime.session import State, open_engine
from relama.targets import TARGETS
from tests.conftest import TINY_LLAMA, quiet
from tests.engines import PostgresServer, postgres_profile
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
    set_profile,
)

CHECKPOINT = open_checkpoint(TINY_LLAMA)


@dataclass(frozen=True)
class Kind:
    """A target, and how it stores weights.

    Attributes:
        tolerance: of a logit of the tiny model.
    """

    target: str
    storage: str
    server: str
    tolerance: float = 1e-4


KINDS = {
    "pgvector": Kind("postgres", "vector", "vector_postgres"),
    "plain postgres": Kind("postgres", "float32", "plain_postgres"),
    # Half precision of all matrices and of what is multiplied with them: 11 bits.
    "halfvec": Kind("postgres", "halfvec", "vector_postgres", tolerance=2e-2),
}
Make = Callable[..., Project]


@pytest.fixture(scope="module")
def make(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Writes, loads and builds a project of a kind, in a database of its own."""
    count = 0

    def made(
        kind: Kind, checkpoint: Path = TINY_LLAMA, build: bool = True, tested: bool = True
    ) -> Project:
        nonlocal count
        count += 1
        directory = tmp_path_factory.mktemp("targets") / f"model_{count}"
        server = request.getfixturevalue(kind.server)
        database = server.database(f"model_{count}")
        if kind.storage != "float32":
            with server.connect(database) as connection:
                connection.execute("create extension vector")

        def prepare(project: Project) -> None:
            set_profile(project, postgres_profile(server, database, "model"))

        options: dict[str, Any] = {"storage": kind.storage}
        if build:
            return make_project_on(
                kind.target, directory, checkpoint, prepare, tested=tested, **options
            )
        target = TARGETS[kind.target]
        project = write_project(directory, open_checkpoint(checkpoint), target=target, **options)
        prepare(project)
        return project

    return made


@pytest.fixture(scope="module")
def built(make: Make) -> Callable[[str], Project]:
    """The tiny model as one of the kinds, built once."""
    projects: dict[str, Project] = {}

    def of(kind: str) -> Project:
        if kind not in projects:
            projects[kind] = make(KINDS[kind])
        return projects[kind]

    return of


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


#: The kinds that have code of their own beyond SQL: whatever is not about numbers.
@pytest.fixture(params=["pgvector"])
def project(request: pytest.FixtureRequest, built: Callable[[str], Project]) -> Project:
    return built(request.param)


def test_fixture(built: Callable[[str], Project], kind: str) -> None:
    assert_equals_the_oracle(built(kind), CHECKPOINT, KINDS[kind].tolerance)


@pytest.mark.parametrize("kind", [k for k in KINDS if k != "halfvec"], indirect=True)
@pytest.mark.parametrize(
    "overrides",
    [
        pytest.param({"tie_word_embeddings": True, "dialect": "v4"}, id="tied, v4 dialect"),
        pytest.param(
            {
                "attention_bias": False,
                "mlp_bias": False,
                "head_dim": 16,
                "rope": {"rope_type": "linear", "factor": 4.0},
            },
            id="no bias, head_dim, linear rope",
        ),
    ],
)
def test_other_shapes(make: Make, kind: str, overrides: dict[str, Any], tmp_path: Path) -> None:
    write_tiny_llama(tmp_path / "checkpoint", **overrides)
    project = make(KINDS[kind], tmp_path / "checkpoint", tested=False)
    assert_equals_the_oracle(project, open_checkpoint(tmp_path / "checkpoint"))


def test_both_engines_sample_as_duckdb_does(project: Project, tiny_project: Project) -> None:
    expected = continued(tiny_project, 4, SAMPLED)
    assert continued(project, 4, SAMPLED) == expected
    assert continued(project, 2, SAMPLED, "dbt") == expected[:2]


def run(project: Project, *command: str) -> subprocess.CompletedProcess[str]:
    """Runs a program in the project's directory."""
    environment = {**os.environ, "DBT_SEND_ANONYMOUS_USAGE_STATS": "false"}
    environment["DBT_PROFILES_DIR"] = str(project.directory)
    return subprocess.run(
        command, cwd=project.directory, env=environment, capture_output=True, text=True, check=False
    )


def dbt(project: Project, *arguments: str) -> subprocess.CompletedProcess[str]:
    program = "from dbt.cli.main import cli; cli()"
    return run(project, sys.executable, "-c", program, "--no-use-colors", *arguments)


def relama(project: Project, command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run(project, sys.executable, "-m", "relama", command, str(project.directory), *arguments)


def token_ids(project: Project) -> list[int]:
    with project.target.connect(project) as connection:
        return State(project, connection, 0).token_ids()


def test_plain_dbt_takes_steps_without_relama(project: Project) -> None:
    given = json.dumps({"token_ids": PROMPT})
    done = dbt(project, "run-operation", "set_prompt", "--args", given)
    assert done.returncode == 0, done.stdout
    done = dbt(project, "build")
    assert done.returncode == 0, done.stdout
    for _ in range(2):
        done = dbt(project, "run", "--select", "tag:step")
        assert done.returncode == 0, done.stdout
    expected = greedy(CHECKPOINT.config, CHECKPOINT.tensors, PROMPT, 3)
    assert token_ids(project) == [*PROMPT, *expected]
    done = dbt(project, "test")
    assert done.returncode == 0, done.stdout


def test_a_step_that_dbt_did_not_finish_is_done_again(project: Project) -> None:
    """Killed between two appends: the cache is ahead of `tokens`."""
    expected = continued(project, 3)
    with open_engine(project, "dbt", sequence_id=0) as engine:
        engine.start(PROMPT, GREEDY)
        done = dbt(project, "run", "--select", "step", "kv_cache")
        assert done.returncode == 0, done.stdout
        with project.target.connect(project) as connection:
            state = State(project, connection, 0)
            ((cached,),) = connection.execute("select max(position) from kv_cache").fetchall()
            assert cached >= state.has_read()  # The interruption is real.
        assert engine.step() == expected[0]
    assert_whole_tokens(project)
    done = dbt(project, "run", "--select", "step", "kv_cache")
    assert done.returncode == 0, done.stdout
    assert continued(project, 3) == expected
    assert_whole_tokens(project)


def test_a_full_refresh_makes_weights_anew(project: Project) -> None:
    """A build leaves alone what it has made; here somebody else has changed it."""
    with project.target.connect(project) as connection:
        connection.execute("delete from lm_head_weight where row_id = 3")
    assert relama(project, "build", "--full-refresh").returncode == 0
    with project.target.connect(project) as connection:
        found = connection.execute("select count(*) from lm_head_weight").fetchall()
    assert found == [(project.config.vocab_size,)]


def test_two_commands_at_once_compile_one_after_the_other(project: Project) -> None:
    kept = project.directory / "target" / "relama"
    shutil.rmtree(kept)
    kept.mkdir()
    command = [sys.executable, "-m", "relama", "logits", str(project.directory), "a", "--top", "1"]
    with (kept / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        both = [
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            for _ in range(2)
        ]
        time.sleep(15)  # Longer than either takes to compile.
        assert [process.poll() for process in both] == [None, None]
        assert not list(kept.glob("*.json"))
    said = [process.communicate() for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert said[0] == said[1]


def test_a_traced_step_is_tables_that_tests_hold_for(project: Project) -> None:
    trace = ("--vars", "{relama_trace: true}")
    done = dbt(project, "run", "--select", "tag:step", *trace)
    assert done.returncode == 0, done.stdout
    done = dbt(project, "test", *trace)
    assert done.returncode == 0, done.stdout
    assert "finite_vector_layer_00__attention" in done.stdout


def assert_whole_tokens(project: Project) -> int:
    """Every layer holds exactly the positions before the last token; returns how many."""
    with project.target.connect(project) as connection:
        read = State(project, connection, 0).has_read()
        rows = connection.execute(
            "select layer, position, kv_head from kv_cache order by layer, position, kv_head"
        ).fetchall()
    layers, heads = project.config.num_hidden_layers, project.config.num_key_value_heads
    expected = [(n, p, h) for n in range(layers) for p in range(read) for h in range(heads)]
    assert [tuple(row) for row in rows] == expected
    return read


def test_a_killed_session_leaves_whole_tokens(project: Project) -> None:
    whole = [*PROMPT, *continued(project, 120)]
    program = (
        "import sys\n"
        "from relama.project.manifest import load_project\n"
        "from relama.runtime.session import open_engine\n"
        "with open_engine(load_project(sys.argv[1]), 'session', sequence_id=0) as engine:\n"
        f"    engine.start({PROMPT}, {GREEDY})\n"
        "    for _ in range(100):\n"
        "        print(engine.step(), flush=True)\n"
    )
    counts = set()
    for place in range(KILLS):
        command = [sys.executable, "-c", program, str(project.directory)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for _ in range(1 + place):
                process.stdout.readline()
            time.sleep(0.0007 * place)
            process.send_signal(signal.SIGKILL)
        with open_engine(project, "session", sequence_id=0) as engine:  # Waits for the server.
            ids = token_ids(project)
            counts.add(assert_whole_tokens(project))
            engine.start(ids, GREEDY)
            more = [engine.step() for _ in range(2)]
        assert len(PROMPT) < len(ids) < len(PROMPT) + 100
        assert [*ids, *more] == whole[: len(ids) + 2]
        assert_whole_tokens(project)
    assert len(counts) > KILLS // 2


def test_two_sequences_at_once(project: Project) -> None:
    """One step reads prompts of different lengths, and the next one token of each."""
    prompts = {0: PROMPT, 5_000_000_000: PROMPT[3:7]}
    try:
        with project.target.connect(project) as connection:
            State(project, connection, 0).clear()
            for sequence_id, prompt in prompts.items():
                state = State(project, connection, sequence_id)
                state.append_tokens(prompt, first_position=0, has_read=0)
        for _ in range(2):
            done = dbt(project, "run", "--select", "tag:step")
            assert done.returncode == 0, done.stdout
        with project.target.connect(project) as connection:
            for sequence_id, prompt in prompts.items():
                ids = State(project, connection, sequence_id).token_ids()
                assert ids == [*prompt, *greedy(CHECKPOINT.config, CHECKPOINT.tensors, prompt, 2)]
    finally:
        with project.target.connect(project) as connection:
            State(project, connection, 0).clear()


def test_logits_that_are_no_numbers_are_refused(project: Project) -> None:
    """An inner product of `vector` that is too large is infinite, and no error."""
    row = "lm_head_weight set vector = {} where row_id = 7"
    with project.target.connect(project) as connection:
        select = "select cast(vector as text) from lm_head_weight where row_id = 7"
        ((before,),) = connection.execute(select).fetchall()
        connection.execute(
            "update " + row.format("cast(array_fill(3e38::real, array[48]) as vector)")
        )
    try:
        with pytest.raises(ProjectError, match="The logits are NaN or infinite"):
            continued(project, 1)
        assert_whole_tokens(project)
    finally:
        with project.target.connect(project) as connection:
            connection.execute("update " + row.format(f"cast('{before}' as vector)"))


def test_the_compiled_step_is_the_one_in_review(
    built: Callable[[str], Project], built_tiny_project: Project
) -> None:
    assert_in_review(built_tiny_project, "duckdb")
    assert_in_review(built("pgvector"), "postgres")


class TestPostgres:
    """What a server may refuse."""

    @pytest.fixture
    def unloaded(self, make: Make) -> Project:
        return make(KINDS["pgvector"], build=False)

    @pytest.mark.parametrize(
        ("change", "sentence"),
        [
            ({"port": 1}, "Connection refused."),
            ({"password": "wrong"}, 'password authentication failed for user "relama".'),
            ({"dbname": "nowhere"}, 'database "nowhere" does not exist.'),
        ],
    )
    def test_no_connection(
        self,
        project: Project,
        vector_postgres: PostgresServer,
        change: dict[str, Any],
        sentence: str,
    ) -> None:
        before = (project.directory / "profiles.yml").read_text()
        output = postgres_profile(vector_postgres, "model_1", "model") | change
        try:
            set_profile(project, output)
            for command in (["generate", "hi"], ["build"], ["load"]):
                done = relama(project, *command)
                assert done.returncode == 1
                where = f"PostgreSQL at 127.0.0.1:{output['port']}/{output['dbname']}: "
                assert done.stderr.splitlines()[-1] == f"Error: {where}{sentence}"
                assert str(output["password"]) not in done.stderr + done.stdout
        finally:
            (project.directory / "profiles.yml").write_text(before)

    def test_a_version_too_old(self, project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("relama.targets.postgres._LEAST", 190000)
        with pytest.raises(ProjectError, match=r"is PostgreSQL \d+; relama needs 19 or later"):
            continued(project, 1)

    def test_pgvector_is_absent(self, make: Make, plain_postgres: PostgresServer) -> None:
        project = make(KINDS["pgvector"], build=False)
        database = plain_postgres.database("without")
        set_profile(project, postgres_profile(plain_postgres, database, "model"))
        with pytest.raises(ProjectError, match="install it on the server, or write the project"):
            load_weights(project, quiet)

    def test_pgvector_is_not_created(
        self, unloaded: Project, vector_postgres: PostgresServer
    ) -> None:
        database = vector_postgres.database("not_created")
        set_profile(unloaded, postgres_profile(vector_postgres, database, "model"))
        with pytest.raises(ProjectError, match="create it with: create extension vector"):
            load_weights(unloaded, quiet)

    def test_a_build_before_the_weights_are_there(self, unloaded: Project) -> None:
        with pytest.raises(ProjectError, match="run: relama load"):
            build_project(unloaded, again=False, on_progress=quiet)

    def test_a_table_that_is_not_ours(self, unloaded: Project) -> None:
        with unloaded.target.connect(unloaded) as connection:
            connection.execute("create schema model_staged")
            connection.execute("create table model_staged.q_of_mine as select 1 as x")
            connection.execute("alter table model_staged.q_of_mine rename to embed_tokens")
        with pytest.raises(ProjectError, match="was not loaded by relama"):
            load_weights(unloaded, quiet)
        with unloaded.target.connect(unloaded) as connection:
            assert connection.execute("table model_staged.embed_tokens").fetchall() == [(1,)]

    def test_an_interrupted_load_is_repaired_by_the_next(self, unloaded: Project) -> None:
        tables = len(list((unloaded.directory / "weights").glob("*.parquet")))
        with unloaded.target.connect(unloaded) as connection:
            # Waits for the lock of a table in the middle, and is killed there.
            connection.execute("create schema model_staged")
            connection.execute("create table model_staged.layer_01__up_proj (row_id integer)")
            connection.execute("comment on table model_staged.layer_01__up_proj is 'relama:old'")
            connection.execute("begin")
            connection.execute("lock table model_staged.layer_01__up_proj")
            command = [sys.executable, "-m", "relama", "load", str(unloaded.directory)]
            with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
                waiting = "select 1 from pg_locks where not granted"
                end = time.monotonic() + 60
                while not connection.execute(waiting).fetchall() and time.monotonic() < end:
                    time.sleep(0.05)
                process.send_signal(signal.SIGKILL)
            connection.execute("rollback")
            loaded = unloaded.target.staged(unloaded, connection)
        assert 1 < len(loaded) < tables
        result = load_weights(unloaded, quiet)
        assert result["kept"] == len(loaded) - 1  # That of an older load is loaded again.
        assert result["loaded"] + result["kept"] == tables
        assert load_weights(unloaded, quiet)["kept"] == tables

    def test_a_role_that_may_not_write(
        self, project: Project, vector_postgres: PostgresServer
    ) -> None:
        before = (project.directory / "profiles.yml").read_text()
        output = yaml.safe_load(before)[project.name]["outputs"]["dev"]
        with vector_postgres.connect(output["dbname"]) as connection:
            connection.execute("drop role if exists reader")
            connection.execute("create role reader login password 'reads'")
            connection.execute("grant usage on schema model to reader")
            connection.execute("grant select on all tables in schema model to reader")
        ids = token_ids(project)
        try:
            set_profile(project, output | {"user": "reader", "password": "reads"})
            for command in (["generate", "hi"], ["logits", "hi"]):
                done = relama(project, *command)
                assert done.returncode == 1
                assert "permission denied for table" in done.stderr
                assert len(done.stderr.strip().splitlines()) == 1
            assert relama(project, "build", "--full-refresh").returncode == 1
        finally:
            (project.directory / "profiles.yml").write_text(before)
            with vector_postgres.connect(output["dbname"]) as connection:
                connection.execute("drop owned by reader")
                connection.execute("drop role reader")
        assert token_ids(project) == ids
        assert_whole_tokens(project)

    def test_a_state_in_use(self, project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("relama.targets.postgres._PATIENCE", 0.3)
        with open_engine(project, "session", sequence_id=0) as engine:
            engine.start(PROMPT, GREEDY)
            with pytest.raises(ProjectError, match=r"in use by server process \d+"):
                continued(project, 1)


@pytest.mark.parametrize("name", ["deepseek_v3", "gemma2", "granite", "phi3_longrope_partial"])
def test_another_family(name: str, make: Make, tmp_path: Path) -> None:
    """Windows, soft caps, multipliers, norms behind blocks, latents, experts, long factors."""
    directory = write_family(tmp_path / name, name)
    project = make(KINDS["plain postgres"], directory, tested=False)
    assert_equals_the_oracle(project, open_checkpoint(directory))
