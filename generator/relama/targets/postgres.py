"""PostgreSQL 15 or later: with pgvector its inner product, and without it SQL's own."""

from __future__ import annotations

import hashlib
import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from relama.errors import ProjectError
from relama.targets.base import Places, Sampling, Target, does_not_fit, driver

if TYPE_CHECKING:
    import psycopg

    from relama.project.manifest import Project

_LEAST = 150000
#: How a session chooses tokens: plain dbt reads the seed, which no session changes.
_SAMPLING = "pg_temp.session_sampling"
#: The tokens of a session's sequence: its steps read no other's.
_TOKENS = "pg_temp.session_tokens"
#: Seconds that a command waits for another to leave the state alone: a client that was killed is
#: noticed by the server after `client_connection_check_interval`.
_PATIENCE = 10.0
#: Statements of a session are long and planned once.
_SETTINGS = {
    "jit": "off",
    "plan_cache_mode": "force_generic_plan",
    "client_connection_check_interval": "1s",
    "max_parallel_workers_per_gather": "0",
}


class Postgres(Target):
    """Weights are rows of arrays, or of pgvector's `vector` or `halfvec`."""

    name = "postgres"
    title = "PostgreSQL"
    storages = ("vector", "halfvec", "float32")

    def settings(self, storage: str) -> dict[str, Any]:
        return {"pgvector": storage != "float32"}

    def place(self, project: Project) -> str:
        output = _output(project)
        return f"{output['host']}:{output['port']}/{output['dbname']}/{output['schema']}"

    @contextmanager
    def connect(self, project: Project) -> Iterator[psycopg.Connection[Any]]:
        psycopg = _driver()
        output = _output(project)
        try:
            with _connected(output) as connection:
                _check_version(connection)
                for name, value in _SETTINGS.items():
                    connection.execute(f"set {name} = '{value}'")
                connection.execute(_search_path(output))
                yield connection
        except psycopg.Error as error:
            raise ProjectError(_sentence(error, output)) from None

    def marks(self, project: Project, connection: psycopg.Connection[Any]) -> dict[str, str]:
        rows = connection.execute(
            "select c.relname, coalesce(obj_description(c.oid, 'pg_class'), '') from pg_class as c "
            "inner join pg_namespace as n on c.relnamespace = n.oid "
            "where n.nspname = %s and c.relkind in ('r', 'p', 'v', 'm', 'f')",
            [_staged_schema(_output(project))],
        ).fetchall()
        return {str(name): str(comment) for name, comment in rows}

    @contextmanager
    def scratch(self, project: Project, connection: psycopg.Connection[Any]) -> Iterator[Places]:
        _lock(project, connection)
        with super().scratch(project, connection) as places:
            yield places

    @contextmanager
    def preparing(self, project: Project) -> Iterator[None]:
        psycopg = _driver()
        try:
            yield
        except psycopg.ProgrammingError as error:
            raise does_not_fit(project, error) from None

    def open_session(
        self, project: Project, connection: psycopg.Connection[Any], sequence_id: int
    ) -> Places:
        _lock(project, connection)
        connection.execute(
            "create temporary table session_sampling "
            "(temperature double precision, top_k integer, top_p double precision, seed bigint)"
        )
        connection.execute(
            "create temporary view session_tokens as "
            f"select * from tokens where sequence_id = {sequence_id}"
        )
        return {"sampling": _SAMPLING, "tokens": _TOKENS}

    def choose(self, connection: psycopg.Connection[Any], sampling: Sampling) -> None:
        connection.execute("delete from session_sampling")
        connection.execute("insert into session_sampling values (%s, %s, %s, %s)", [*sampling])

    def stored(self, project: Project, connection: Any) -> dict[str, int]:
        ((rows, size),) = connection.execute(
            "select coalesce(sum(greatest(reltuples, 0)), 0), "
            "coalesce(sum(pg_total_relation_size(oid)), 0) from pg_class "
            "where relkind = 'r' and relnamespace = current_schema()::regnamespace"
        ).fetchall()
        return {"rows": int(rows), "bytes": int(size)}

    @contextmanager
    def loading(self, project: Project) -> Iterator[psycopg.Connection[Any]]:
        output = _output(project)
        with self.connect(project) as connection:
            if project.storage != "float32":
                _check_pgvector(connection, output)
            connection.execute(f"create schema if not exists {_quoted(_staged_schema(output))}")
            _lock(project, connection)
            yield connection

    def load_table(
        self,
        project: Project,
        connection: psycopg.Connection[Any],
        file: Path,
        mark: str,
        on_progress: Callable[..., None],
    ) -> None:
        schema = _staged_schema(_output(project))
        _load_table(connection, f"{_quoted(schema)}.{_quoted(file.stem)}", file, mark, on_progress)


def _driver() -> Any:
    psycopg = driver(Postgres.name, "psycopg")
    # It logs what it raises as well, and Python prints a log that nobody handles.
    logging.getLogger("psycopg").addHandler(logging.NullHandler())
    return psycopg


def _output(project: Project) -> dict[str, Any]:
    """The profile's output, under the names that dbt-postgres gives its fields."""
    from relama.runtime.profile import output_of

    output = dict(output_of(project))
    output.setdefault("dbname", output.get("database"))
    output.setdefault("password", output.get("pass"))
    output.setdefault("port", 5432)
    missing = [name for name in ("host", "user", "dbname", "schema") if not output.get(name)]
    if missing:
        raise ProjectError(f"The profile of {project.directory} has no '{missing[0]}'.")
    return output


def _staged_schema(output: Mapping[str, Any]) -> str:
    return f"{output['schema']}_staged"


@contextmanager
def _connected(output: Mapping[str, Any]) -> Iterator[psycopg.Connection[Any]]:
    optional = {
        name: output[name]
        for name in ("sslmode", "sslcert", "sslkey", "sslrootcert")
        if output.get(name)
    }
    with _driver().connect(
        host=output["host"],
        port=output["port"],
        user=output["user"],
        password=output["password"],
        dbname=output["dbname"],
        connect_timeout=output.get("connect_timeout", 10),
        autocommit=True,
        prepare_threshold=None,
        **optional,
    ) as connection:
        if output.get("role"):
            connection.execute(f"set role {_quoted(output['role'])}")
        yield connection


def _search_path(output: Mapping[str, Any]) -> str:
    """The models' schema before what the profile says, or the server: pgvector is there."""
    name = _quoted(output["schema"]).replace("'", "''")
    given = str(output.get("search_path") or "").replace("'", "''")
    rest = f"'{given}'" if given else "current_setting('search_path')"
    return f"select set_config('search_path', '{name}, ' || {rest}, false)"


def _check_version(connection: psycopg.Connection[Any]) -> None:
    number = connection.info.server_version
    if number < _LEAST:
        raise ProjectError(
            f"The server is PostgreSQL {number // 10000}; relama needs {_LEAST // 10000} or later."
        )


def _check_pgvector(connection: psycopg.Connection[Any], output: Mapping[str, Any]) -> None:
    if connection.execute("select 1 from pg_extension where extname = 'vector'").fetchall():
        return
    available = connection.execute(
        "select 1 from pg_available_extensions where name = 'vector'"
    ).fetchall()
    raise ProjectError(
        f"The database '{output['dbname']}' has no extension pgvector, which the project's storage "
        "needs; "
        + (
            "create it with: create extension vector"
            if available
            else "install it on the server, or write the project anew with --storage float32, "
            "which needs no extension and is many times slower."
        )
    )


def _lock(project: Project, connection: psycopg.Connection[Any]) -> None:
    """Keeps others from the project's state for as long as the connection lasts.

    Raises `ProjectError` where another relama has it.
    """
    digest = hashlib.sha256(f"relama {_output(project)['schema']}".encode()).digest()
    key = int.from_bytes(digest[:8], "big", signed=True)
    end = time.monotonic() + _PATIENCE
    while True:
        ((locked,),) = connection.execute("select pg_try_advisory_lock(%s)", [key]).fetchall()
        if locked:
            return
        if time.monotonic() > end:
            break
        time.sleep(0.2)
    holders = connection.execute(
        "select pid from pg_locks where locktype = 'advisory' and granted "
        "and database = (select oid from pg_database where datname = current_database()) "
        "and classid = %s and objid = %s",
        [(key >> 32) & 0xFFFFFFFF, key & 0xFFFFFFFF],
    ).fetchall()
    holder = f"server process {holders[0][0]}" if holders else "another session"
    raise ProjectError(
        f"The state of {project.directory} is in use by {holder}; "
        "end the other relama and try again."
    )


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _sentence(error: Exception, output: Mapping[str, Any]) -> str:
    """What the server says, in one sentence that holds no password."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    text = re.sub(r"^(connection failed|connection to server at .*? failed): ", "", lines[0])
    text = re.sub(r"^connection to server at .*? failed: |FATAL: +", "", text).removesuffix(".")
    where = f"{output['host']}:{output['port']}/{output['dbname']}"
    return f"PostgreSQL at {where}: {text}."


#: Arrow's types, PostgreSQL's, and the latter's numbers.
_TYPES = {
    "int32": ("integer", 23),
    "float": ("real", 700),
    "string": ("text", 25),
    "binary": ("bytea", 17),
    "bool": ("boolean", 16),
    "list<element: float>": ("real[]", 1021),
    "list<item: float>": ("real[]", 1021),
}
#: Rows of a message to the server, and of a digest.
_ROWS = 2048


def _load_table(
    connection: psycopg.Connection[Any],
    table: str,
    file: Path,
    mark: str,
    on_progress: Callable[..., None],
) -> None:
    """Loads a Parquet file into a table, in one transaction that ends with a check."""
    import pyarrow.parquet as pq

    parquet = pq.ParquetFile(file)
    columns = [(field.name, *_TYPES[str(field.type)]) for field in parquet.schema_arrow]
    declared = ", ".join(f"{_quoted(name)} {kind} not null" for name, kind, _ in columns)
    numbers = [number for _, _, number in columns]
    rows, digests = 0, hashlib.md5(usedforsecurity=False)
    step = file.stat().st_size / max(1, parquet.metadata.num_rows)
    with connection.transaction():
        connection.execute(f"drop table if exists {table}")
        connection.execute(f"create table {table} ({declared})")
        with connection.cursor().copy(f"copy {table} from stdin (format binary)") as copy:
            copy.write(b"PGCOPY\n\xff\r\n\0" + bytes(8))
            for batch in parquet.iter_batches(_ROWS):
                for values in _encoded_rows(batch):
                    copy.write(_copied(values))
                    row = _as_record(values, numbers)
                    digests.update(hashlib.md5(row, usedforsecurity=False).hexdigest().encode())
                rows += len(batch)
                on_progress(round(step * len(batch)))
            copy.write(b"\xff\xff")
        key = _quoted(columns[0][0])
        ((count, digest),) = connection.execute(
            f"select count(*), md5(string_agg(md5(record_send(t)), '' order by {key})) "
            f"from {table} as t"
        ).fetchall()
        if (count, digest) != (rows, digests.hexdigest()):
            raise ProjectError(
                f"{table} does not hold what was sent: {count} rows of {rows}, "
                f"digest {digest}, expected {digests.hexdigest()}."
            )
        connection.execute(f"comment on table {table} is '{mark}'")


def _encoded_rows(batch: Any) -> Iterator[list[bytes]]:
    """The values of each row, as PostgreSQL's types send them."""
    columns = [_encoded_column(column) for column in batch.columns]
    yield from (list(row) for row in zip(*columns, strict=True))


def _encoded_column(column: Any) -> list[bytes]:
    kind = str(column.type)
    if kind.startswith("list"):
        return [_real_array(value.values) for value in column]
    if kind == "int32":
        return [value.to_bytes(4, "big", signed=True) for value in column.to_pylist()]
    if kind == "float":
        sent = column.to_numpy().astype(">f4").tobytes()
        return [sent[i : i + 4] for i in range(0, len(sent), 4)]
    if kind == "bool":
        return [bytes([value]) for value in column.to_pylist()]
    # PostgreSQL's text has no character 0, which is a token of some vocabularies: its symbol.
    return [
        value if isinstance(value, bytes) else value.replace("\0", "\u2400").encode()
        for value in column.to_pylist()
    ]


def _real_array(values: Any) -> bytes:
    """`array_send` of a `real[]`: dimensions, flags, the type, length, first index, elements."""
    import numpy as np

    elements = np.empty(len(values), dtype=[("length", ">i4"), ("value", ">f4")])
    elements["length"] = 4
    elements["value"] = values.to_numpy(zero_copy_only=False)
    head = np.array([1, 0, 700, len(values), 1], dtype=">i4")
    return head.tobytes() + elements.tobytes()


def _copied(values: Sequence[bytes]) -> bytes:
    """A row of `copy ... (format binary)`."""
    fields = b"".join(len(value).to_bytes(4, "big") + value for value in values)
    return len(values).to_bytes(2, "big") + fields


def _as_record(values: Sequence[bytes], numbers: Sequence[int]) -> bytes:
    """`record_send` of a row."""
    fields = b"".join(
        number.to_bytes(4, "big") + len(value).to_bytes(4, "big") + value
        for number, value in zip(numbers, values, strict=True)
    )
    return len(values).to_bytes(4, "big") + fields
