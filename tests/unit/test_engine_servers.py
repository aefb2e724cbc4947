"""The engines that tests use are real ones, and start."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import clickhouse_connect
import psycopg
import pytest
from clickhouse_connect.driver.exceptions import DatabaseError, ProgrammingError

from tests import engines, processes
from tests.chdb_site import chdb_redirect
from tests.engines import (
    CHDB_SITE,
    DEBIAN,
    PostgresServer,
    clickhouse_profile,
    postgres_profile,
    start_postgres,
    temporary_postgres,
)

DBT = str(Path(sys.executable).parent / "dbt")
MODELS = {
    "one.sql": "{{ config(materialized='table') }} select 40 + 2 as answer",
    "two.sql": "select answer + 1 as answer from {{ ref('one') }}",
}


def run_dbt(directory: Path, output: dict[str, Any], models: dict[str, str]) -> bytes:
    """Runs a project; returns how the process was started."""
    (directory / "models").mkdir(parents=True)
    (directory / "dbt_project.yml").write_text("{name: small, profile: small}")
    profiles = {"small": {"target": "dev", "outputs": {"dev": output}}}
    (directory / "profiles.yml").write_text(json.dumps(profiles))
    for name, text in models.items():
        (directory / "models" / name).write_text(text)
    environment = {**os.environ, "DBT_SEND_ANONYMOUS_USAGE_STATS": "false"}
    command = [DBT, "--no-use-colors", "build", "--profiles-dir", str(directory)]
    with subprocess.Popen(
        command, cwd=directory, env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        started = Path(f"/proc/{process.pid}/cmdline").read_bytes()
        printed = process.communicate()[0]
    assert process.returncode == 0, printed
    return started


def client(database: str | None = None) -> Any:
    """A client as a user of a server asks for one."""
    return clickhouse_connect.get_client(
        host="localhost", port=8123, username="default", password="", database=database
    )


def in_child(program: str) -> subprocess.CompletedProcess[str]:
    """Runs a program with a client in a Python that knows nothing of these tests."""
    code = f"import clickhouse_connect\nc = clickhouse_connect.get_client()\n{program}"
    return subprocess.run(
        [sys.executable, "-c", code], cwd="/", capture_output=True, text=True, check=False
    )


def has_pgvector(server: PostgresServer) -> bool:
    query = "select count(*) = 1 from pg_available_extensions where name = 'vector'"
    with server.connect() as connection:
        return connection.execute(query).fetchone() == (True,)


def test_plain_postgres(plain_postgres: PostgresServer) -> None:
    with plain_postgres.connect() as connection:
        row = connection.execute("select version(), current_user").fetchone()
    assert row is not None and row[0].startswith("PostgreSQL ") and row[1] == "relama"
    assert not has_pgvector(plain_postgres)


def test_vector_postgres(vector_postgres: PostgresServer) -> None:
    assert has_pgvector(vector_postgres)
    with vector_postgres.connect(vector_postgres.database("vectors")) as connection:
        connection.execute("create extension vector")
        row = connection.execute("select version(), '[1,2]'::vector <#> '[3,4]'").fetchone()
    assert row is not None and row[0].startswith("PostgreSQL ") and row[1] == -11


@pytest.mark.parametrize("through", ["127.0.0.1", "socket"])
def test_wrong_password_is_refused(plain_postgres: PostgresServer, through: str) -> None:
    host = str(plain_postgres.directory) if through == "socket" else through
    plain_postgres.connect(host=host).close()
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        plain_postgres.connect(host=host, password="wrong")


def test_database_is_empty_each_time(plain_postgres: PostgresServer) -> None:
    for _ in range(2):
        name = plain_postgres.database("Its name")
        with plain_postgres.connect(name) as connection:
            connection.execute("create table t as select 1 as a")


def test_dbt_on_postgres(plain_postgres: PostgresServer, tmp_path: Path) -> None:
    database = plain_postgres.database("small")
    run_dbt(tmp_path / "small", postgres_profile(plain_postgres, database, "below"), MODELS)
    with plain_postgres.connect(database) as connection:
        assert connection.execute("select answer from below.two").fetchone() == (43,)


def test_stopped_server_is_gone() -> None:
    with temporary_postgres(DEBIAN) as server:
        server.connect().close()
    with pytest.raises(psycopg.OperationalError):
        server.connect()
    assert not server.directory.parent.exists()


def test_what_does_not_start_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FileNotFoundError, match="not installed"):
        start_postgres(tmp_path / "none", None)
    monkeypatch.setitem(engines.SETTINGS, "shared_buffers", "nonsense")
    with (
        pytest.raises(RuntimeError, match='invalid value for parameter "shared_buffers"'),
        temporary_postgres(DEBIAN),
    ):
        pass


def test_clickhouse_in_this_process(clickhouse_directory: Path) -> None:
    with client() as here:
        assert here.command("select version()").count(".") == 3
        with pytest.raises(DatabaseError, match="does not exist"):
            client("x")
        here.command("create database x")
        here.command("create table x.t (a Int32) engine = MergeTree order by a")
        here.command("insert into x.t values (1)")
        here.command("use x")
        assert here.command("select count() from t") == 1
        with client("x") as beside:
            assert beside.command("select count() from t") == 1
    assert clickhouse_directory.is_dir()


def test_clickhouse_data_go_from_process_to_process(clickhouse_directory: Path) -> None:
    create = "create table t (a Int32) engine = MergeTree order by a"
    done = in_child(f"c.command('{create}'); c.command('insert into t values (1)')")
    assert done.returncode == 0, done.stderr
    here = client()
    assert here.command("select sum(a) from t") == 1
    here.command("insert into t values (2)")
    # Not while it is open here.
    refused = in_child("")
    assert refused.returncode == 1 and "Unable to open the chdb engine" in refused.stderr
    here.close()
    # Closing in the child releases it before the child ends.
    program = "print(c.command('select sum(a) from t'), flush=True); c.close(); print(flush=True)"
    wait = f"{program}; input()"
    code = f"import clickhouse_connect\nc = clickhouse_connect.get_client()\n{wait}"
    with subprocess.Popen(
        [sys.executable, "-c", code],
        cwd="/",
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None and child.stdin is not None
        assert [child.stdout.readline(), child.stdout.readline()] == ["3\n", "\n"]
        with client() as again:
            assert again.command("select sum(a) from t") == 3
        child.communicate("\n")
    assert child.returncode == 0


@pytest.mark.parametrize("start", ["forked", "as a program"])
def test_dbt_on_clickhouse(clickhouse_directory: Path, tmp_path: Path, start: str) -> None:
    """A profile's schema is a database, which dbt makes."""
    with client() as here:
        here.command("create table default.t (a Int32) engine = MergeTree order by a")
        here.command("insert into default.t values (7)")
    models = {**MODELS, "three.sql": "select a + 1 as answer from default.t"}
    how: AbstractContextManager[None] = nullcontext() if start == "forked" else processes.as_it_is()
    with how:
        started = run_dbt(tmp_path / "small", clickhouse_profile("below"), models)
    if subprocess.Popen is processes.ForkingPopen:
        assert (b"tests.process_server" in started) == (start == "forked")
    with client("below") as here:
        assert here.query("select answer from two").result_rows == [(43,)]
        assert here.query("select answer from below.three").result_rows == [(8,)]


def test_forgotten_clients_are_closed(
    clickhouse_directory: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The next test can open another directory."""
    forgotten = client()
    monkeypatch.setenv(chdb_redirect.VARIABLE, str(tmp_path / "another"))
    with pytest.raises(ProgrammingError, match="different path"):
        client()
    chdb_redirect.close_clients()
    client().close()
    with pytest.raises(ProgrammingError, match="closed"):
        forgotten.command("select 1")


def test_other_programs_are_as_they_are(tmp_path: Path) -> None:
    """Python imports nothing more with the folder, and runs its own `sitecustomize`."""
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.chained = True")
    code = (
        "import sys; print(sys.chained, *(n for n in sys.modules if n.startswith(('c', 'n'))));"
        "import clickhouse_connect; print(clickhouse_connect.get_client, 'chdb' in sys.modules)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(CHDB_SITE), str(tmp_path)])}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    first, second = done.stdout.splitlines()
    assert first.startswith("True ") and "chdb_redirect" in first
    assert "clickhouse_connect" not in first and "numpy" not in first
    assert "_Redirected" in second and second.endswith("False")
