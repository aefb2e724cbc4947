"""ClickHouse: every operator of a step fills a table in memory, which the next ones read.

It has no transactions. What a step adds to the cache counts once its token is in `tokens`, which
comes last; what lies ahead of the tokens is removed before anything reads it.
"""

from __future__ import annotations

import hashlib
import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

from relama import names
from relama.errors import ProjectError
from relama.targets.base import Connection, Places, Sampling, Target, does_not_fit, driver

if TYPE_CHECKING:
    import numpy as np

    from relama.project.manifest import Project
    from relama.runtime.statements import Statement

#: The release that relama is tested with, and what it needs at least.
_LEAST = 26
#: Tables of a session's own are temporary, and live as long as it does.
_SAMPLING = "session_sampling"
_STEP = "session_step"
_CACHE = "session_cache"
#: Bytes of weights that a session copies into memory: reading them takes half the time there.
_HELD = 1_000_000_000
#: Those of a state to work on that is gone in the end.
_SCRATCH = "scratch_"
#: Seconds that a command waits for deletions that another has begun.
_PATIENCE = 20.0
#: A table that is temporary is lost when its session rests for so many seconds.
_SETTINGS = {
    "session_timeout": 3600,
    "lightweight_deletes_sync": 2,
    "mutations_sync": 2,
    "join_use_nulls": 1,
    "prefer_column_name_to_alias": 1,
    "async_insert": 0,
}


class _Rows:
    """What a statement has returned."""

    def __init__(self, rows: Sequence[Sequence[Any]] = ()) -> None:
        self._rows = rows

    def fetchall(self) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in self._rows]


class Client:
    """A client of the driver, with the interface of a connection.

    Attributes:
        driver: the driver's own client.
        schema: the database of the models, as it stands in SQL.
        temporary: statements that create the session's temporary tables, by name.
        sequence_id: the session's sequence.
        has_long_factors: whether the project's tokens say which sequences are long.
    """

    def __init__(self, driver: Any, schema: str) -> None:
        self.driver = driver
        self.schema = schema
        self.temporary: dict[str, str] = {}
        self.sequence_id = 0
        self.has_long_factors = False

    def execute(self, sql: str, /) -> _Rows:
        if re.match(r"\s*(select|with|describe|exists)\b", sql, re.IGNORECASE):
            return _Rows(self.driver.query(sql).result_rows)
        self.driver.command(sql)
        return _Rows()

    def value(self, sql: str) -> Any:
        """The one value of a query."""
        return self.execute(sql).fetchall()[0][0]

    def create_temporary(self, name: str, definition: str) -> None:
        """Creates a temporary table, in place of one of this name."""
        sql = f"create or replace temporary table {name} {definition}"
        self.execute(sql)
        self.temporary[name] = sql

    def restore_temporary(self) -> None:
        """Creates the temporary tables anew that the server has dropped meanwhile."""
        if _SAMPLING in self.temporary and not self.value(f"exists temporary table {_SAMPLING}"):
            for sql in self.temporary.values():
                self.execute(sql)


class ClickHouse(Target):
    """Weights are rows of arrays in MergeTree tables."""

    name = "clickhouse"
    title = "ClickHouse"
    storages = ("float32", "int8")
    step = "relama_step"
    types: ClassVar[Mapping[str, str]] = {
        "double": "Float64",
        "integer": "Int32",
        "bigint": "Int64",
    }

    def place(self, project: Project) -> str:
        output = _output(project)
        return f"{output['host']}:{output['port']}/{output['schema']}"

    def is_there(self, project: Project) -> bool:
        """dbt creates the models' database."""
        output = _output(project)
        with _connected(output) as client:
            return _has_database(client, output["schema"])

    @contextmanager
    def connect(self, project: Project) -> Iterator[Client]:
        output = _output(project)
        with _connected(output) as client:
            if not _has_database(client, output["schema"]):
                raise ProjectError(
                    f"ClickHouse at {_where(output)} has no database '{output['schema']}'; "
                    f"run: relama load {project.directory}, then: relama build {project.directory}"
                )
            client.driver.database = output["schema"]
            client.has_long_factors = project.config.original_context is not None
            if "chdb" in type(client.driver).__module__:
                client.execute(f"use {client.schema}")
            _await_deletions(client)
            yield client

    @contextmanager
    def transaction(self, connection: Connection, keep: bool = True) -> Iterator[None]:
        """Runs its body; on an error, what a step has added by then is removed."""
        try:
            yield
        except BaseException:
            with suppress(_error()):
                _discard(cast(Client, connection))
            raise

    def relations(self, connection: Connection) -> set[str]:
        rows = connection.execute(
            "select name from system.tables where database = currentDatabase() and not is_temporary"
        ).fetchall()
        return {str(name) for (name,) in rows}

    @contextmanager
    def scratch(self, project: Project, connection: Client) -> Iterator[Places]:
        places = {}
        for table in (*project.state_tables, "step"):
            places[table] = f"{_SCRATCH}{table}"
            connection.create_temporary(places[table], _like(connection, table))
        yield places
        for place in places.values():
            connection.execute(f"drop table if exists {place}")

    @contextmanager
    def preparing(self, project: Project) -> Iterator[None]:
        try:
            yield
        except _error() as error:
            raise does_not_fit(project, error) from None

    def open_session(self, project: Project, connection: Client, sequence_id: int) -> Places:
        _discard(connection)
        connection.create_temporary(
            _SAMPLING,
            "(temperature Float64, top_k Int32, top_p Float64, seed Int64) engine = Memory",
        )
        connection.create_temporary(_STEP, _like(connection, "step"))
        connection.create_temporary(_CACHE, _like(connection, names.KV_CACHE))
        connection.sequence_id, schema = sequence_id, connection.schema
        return {
            **_held(connection, project),
            "sampling": _SAMPLING,
            "tokens": f"(select * from {schema}.tokens where sequence_id = {sequence_id})",
            "step": _STEP,
            names.KV_CACHE: _CACHE,
        }

    def choose(self, connection: Client, sampling: Sampling) -> None:
        """Reads what there is of the cache into memory, too: every layer reads it every step."""
        connection.restore_temporary()
        connection.execute(f"truncate table {_CACHE}")
        connection.execute(
            f"insert into {_CACHE} select * from {connection.schema}.{names.KV_CACHE} "
            f"where sequence_id = {connection.sequence_id}"
        )
        connection.execute(f"truncate table {_SAMPLING}")
        connection.execute(f"insert into {_SAMPLING} values ({', '.join(map(repr, sampling))})")

    def prepare(
        self, connection: Client, name: str, table: str, statement: Statement
    ) -> Sequence[str]:
        filled, last = _filled(connection, statement, inlines=name == "decode")
        inserts = [f"insert into {table} {last}"]
        if table == names.KV_CACHE and _CACHE in connection.temporary:
            inserts.append(f"insert into {_CACHE} {last}")
        return [*filled, *inserts]

    def rows(
        self, connection: Client, statement: Statement, columns: str, order: str
    ) -> list[tuple[Any, ...]]:
        filled, last = _filled(connection, statement)
        for sql in filled:
            connection.execute(sql)
        sql = f"select {columns} from ({last}) as selected {order}"
        return connection.execute(sql).fetchall()

    def delete(self, connection: Client, table: str, condition: str) -> None:
        """To see that there is nothing to delete is faster than to delete nothing."""
        if connection.value(f"select count() from {table} where {condition}"):
            connection.execute(f"delete from {table} where {condition}")

    def emptied(self, table: str) -> str:
        return f"truncate table {table}"

    def stored(self, project: Project, connection: Client) -> dict[str, int]:
        ((rows, size),) = connection.execute(
            "select sum(total_rows), sum(total_bytes) from system.tables "
            "where database = currentDatabase()"
        ).fetchall()
        return {"rows": int(rows or 0), "bytes": int(size or 0)}

    def marks(self, project: Project, connection: Client) -> dict[str, str]:
        schema = _staged_schema(_output(project)).replace("\\", "\\\\").replace("'", "\\'")
        rows = connection.execute(
            f"select name, comment from system.tables where database = '{schema}'"
        ).fetchall()
        return {str(name): str(comment) for name, comment in rows}

    @contextmanager
    def loading(self, project: Project) -> Iterator[Client]:
        output = _output(project)
        with _connected(output) as client:
            client.execute(f"create database if not exists {_quoted(_staged_schema(output))}")
            yield client

    def load_table(
        self,
        project: Project,
        connection: Client,
        file: Path,
        mark: str,
        on_progress: Callable[..., None],
    ) -> None:
        _load_table(connection, _staged_schema(_output(project)), file, mark, on_progress)


def _held(connection: Client, project: Project) -> dict[str, str]:
    """Copies the weights into tables in memory, where they are few enough. Returns the places."""
    weights = ", ".join(f"'{name}'" for name in project.graph.weights)
    size = connection.value(
        "select sum(total_bytes) from system.tables "
        f"where database = currentDatabase() and name in ({weights})"
    )
    if size > _HELD:
        return {}
    places = {name: f"session_{name}" for name in project.graph.weights}
    for name, place in places.items():
        select = f"select * from {connection.schema}.{name}"
        connection.create_temporary(place, f"engine = Memory as {select}")
    return places


def _filled(
    connection: Client, statement: Statement, inlines: bool = False
) -> tuple[list[str], str]:
    """Statements that fill a temporary table for each model, and the select that reads them.

    A model that stands for a layer only passes rows on: it stands within the select.

    Args:
        inlines: whether a model that is read once stands where it is read. That is for a single
            token, of which every statement takes longer to begin with than to compute.
    """
    texts = {name: _direct(model.sql) for name, model in statement.models.items()}
    texts[""] = _uncommented(statement.last.sql)
    for name in statement.models:
        table = f"{names.CTE_PREFIX}{name}"
        readers = [reader for reader, text in texts.items() if re.search(rf"\b{table}\b", text)]
        # The select at last is a union of all layers, and long enough.
        is_passed_on = (inlines and readers != [""]) or (
            names.parsed(name) == (names.parsed(name).layer, "")
        )
        if not readers:
            del texts[name]
        elif is_passed_on and len(readers) == 1 and _reads_once(texts[readers[0]], table):
            texts[readers[0]] = _read_at(texts[readers[0]], table, f"(\n{texts.pop(name)}\n)")
        elif table not in connection.temporary:
            connection.create_temporary(table, f"engine = Memory empty as {texts[name]}")
    last = texts.pop("")
    filled = []
    # Little is computed faster by one thread: others would have to be called first.
    settings = "settings max_threads = 1 " if inlines else ""
    for name, text in texts.items():
        table = f"{names.CTE_PREFIX}{name}"
        filled += [f"truncate table {table}", f"insert into {table} {settings}{text}"]
    return filled, last


def _reads_once(text: str, table: str) -> bool:
    """Whether a table is named in one place, where it is read."""
    places = re.findall(rf"\b{table}\b", text)
    return len(places) == len(re.findall(rf"\b(?:from|join) {table}\b", text)) == 1


def _read_at(text: str, table: str, place: str) -> str:
    """The text, with a table read at another place."""
    parts = re.split(rf"\b(from|join) {table}\b", text)
    reads = [f"{word} {place}" for word in parts[1::2]]
    return "".join(part for pair in zip(parts[::2], [*reads, ""], strict=True) for part in pair)


def _uncommented(sql: str) -> str:
    """The text without its lines of comment, whose names are not read; models without quotes."""
    sql = re.sub(r"^\s*--.*\n", "", sql, flags=re.MULTILINE).strip()
    return re.sub(rf"`({names.CTE_PREFIX}\w+)`", r"\1", sql)


#: What an operator's model imports, as a CTE of its own; and the one CTE that is left without them.
_IMPORT = re.compile(
    r"(?P<name>\w+) as \(\s*"
    r"(?P<select>select \* from (?P<relation>[\w`.]+)(?P<filter>\s+where layer = \d+)?)"
    r"\s*\),\s*"
)
_WHOLE = re.compile(
    r"(?P<name>\w+) as \(\n(?P<body>.*)\n\)\s*select \* from (?P=name)\s*", re.DOTALL
)


def _direct(sql: str) -> str:
    """The text of a model with what it imports in place: ClickHouse takes its time over every CTE.

    It analyses a statement each time that it runs one, and a step is some hundreds of small ones.
    """
    sql = _uncommented(sql)
    if not sql.startswith("with"):
        return sql
    text = sql.removeprefix("with").lstrip()
    imports = {}
    while found := _IMPORT.match(text):
        imports[found["name"]] = found
        text = text[found.end() :]
    for name, found in imports.items():
        if re.search(rf"\b{name}\.", text):
            return sql
        place = f"({found['select']})" if found["filter"] else found["relation"]
        text = _read_at(text, name, place)
    whole = _WHOLE.fullmatch(text)
    return whole["body"].strip() if whole else f"with {text}"


def _like(connection: Client, table: str) -> str:
    """A temporary table's definition that gives it the columns of another."""
    return f"engine = Memory empty as select * from {connection.schema}.{table}"


def _error() -> type[Exception]:
    """What all errors of the driver are."""
    from clickhouse_connect.driver.exceptions import ClickHouseError

    return ClickHouseError


def _output(project: Project) -> dict[str, Any]:
    """The profile's output, with what dbt-clickhouse takes for what is not there."""
    from relama.runtime.profile import output_of

    output = {"host": "localhost", "user": "default", "password": "", **output_of(project)}
    if not output.get("schema"):
        raise ProjectError(f"The profile of {project.directory} has no 'schema'.")
    if output.get("driver", "http") != "http":
        raise ProjectError(
            f"The profile of {project.directory} has the driver '{output['driver']}'; "
            "relama's commands need 'http'."
        )
    output["port"] = output.get("port") or (8443 if output.get("secure") else 8123)
    return output


@contextmanager
def _connected(output: Mapping[str, Any]) -> Iterator[Client]:
    """A client that is in no database yet. Raises `ProjectError`, in one sentence."""
    clickhouse_connect = driver(ClickHouse.name, "clickhouse_connect")
    # It logs what it raises as well, and Python prints a log that nobody handles.
    logging.getLogger("clickhouse_connect").addHandler(logging.NullHandler())
    optional = {
        name: output[name]
        for name in ("connect_timeout", "send_receive_timeout", "verify", "client_cert")
        if name in output
    }
    client = None
    try:
        client = clickhouse_connect.get_client(
            host=output["host"],
            port=int(output["port"]),
            username=output["user"],
            password=str(output["password"] or ""),
            interface="https" if output.get("secure") else "http",
            settings={**_SETTINGS, **(output.get("custom_settings") or {})},
            query_limit=0,
            **optional,
        )
        _check_version(str(client.server_version))
        yield Client(client, _quoted(output["schema"]))
    except _error() as error:
        raise ProjectError(_sentence(error, output)) from None
    finally:
        if client is not None:
            client.close()


def _check_version(version: str) -> None:
    if int(version.partition(".")[0]) < _LEAST:
        raise ProjectError(f"The server is ClickHouse {version}; relama needs {_LEAST} or later.")


def _has_database(client: Client, name: str) -> bool:
    return bool(client.value(f"exists database {_quoted(name)}"))


def _quoted(name: str) -> str:
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def _staged_schema(output: Mapping[str, Any]) -> str:
    return f"{output['schema']}_staged"


def _where(output: Mapping[str, Any]) -> str:
    return f"{output['host']}:{output['port']}"


def _sentence(error: Exception, output: Mapping[str, Any]) -> str:
    """What the server says, in one sentence that holds no password."""
    text = " ".join(str(error).split()) or type(error).__name__
    if "Unable to open the chdb engine" in text or "EmbeddedServer" in text:
        return (
            "ClickHouse cannot open its directory, which another process may have open; "
            "end it and try again."
        )
    if "Connection refused" in text or "Max retries exceeded" in text:
        text = "it does not answer"
    text = text.rpartition("DB::Exception: ")[2]
    text = re.sub(r"\s*\(version [^()]*(\([^()]*\))?\)", "", text)
    text = text.partition(", e.what() = ")[0]
    text = re.sub(r":? (In scope|If you use ClickHouse|If you have installed)\b.*", "", text)
    if password := str(output.get("password") or ""):
        text = text.replace(password, "***")
    if len(text) > 300:
        text = text[:300] + "..."
    return f"ClickHouse at {_where(output)}: {text.rstrip('. ')}."


def _await_deletions(client: Client) -> None:
    """Waits for deletions that a command had begun when it was ended: the server goes on."""
    end = time.monotonic() + _PATIENCE
    while client.value(
        "select count() from system.mutations where database = currentDatabase() "
        f"and table in ('tokens', '{names.KV_CACHE}') and not is_done"
    ):
        if time.monotonic() > end:
            raise ProjectError(
                f"ClickHouse is still deleting rows of {client.schema}; try again later."
            )
        time.sleep(0.1)


def _discard(client: Client) -> None:
    """Removes the keys and values of positions that, by the tokens, no step has read."""
    if not client.value(f"exists table {client.schema}.{names.KV_CACHE}"):
        return
    cache = f"{client.schema}.{names.KV_CACHE}"
    has_read = "max(t.has_read)"
    if client.has_long_factors:  # See the macro `sequences`.
        has_read = f"coalesce(max(if(t.is_long, t.has_read, null)), {has_read})"
    ahead = client.execute(
        "select k.sequence_id as sequence_id, any(coalesce(s.has_read, 0)) as has_read "
        f"from {cache} as k left join ("
        f"select sequence_id, {has_read} as has_read "
        f"from {client.schema}.tokens as t group by sequence_id"
        ") as s on k.sequence_id = s.sequence_id "
        "where k.position >= coalesce(s.has_read, 0) group by k.sequence_id"
    ).fetchall()
    for sequence_id, has_read in ahead:
        client.execute(
            f"delete from {cache} where sequence_id = {sequence_id} and position >= {has_read}"
        )


#: Arrow's types, and ClickHouse's.
_TYPES = {
    "int32": "Int32",
    "float": "Float32",
    "string": "String",
    "binary": "String",
    "bool": "Bool",
    "list<element: float>": "Array(Float32) codec(NONE)",
    "list<item: float>": "Array(Float32) codec(NONE)",
}
#: Bytes of an insert, about.
_AT_ONCE = 16_000_000


def _load_table(
    client: Client, schema: str, file: Path, mark: str, on_progress: Callable[..., None]
) -> None:
    """Loads a Parquet file into a table beside the one of its name, which it then becomes."""
    import numpy as np
    import pyarrow.parquet as pq

    table = f"{_quoted(schema)}.{_quoted(file.stem)}"
    loading = f"{_quoted(schema)}.{_quoted(file.stem + '__loading')}"
    parquet = pq.ParquetFile(file)
    columns = [(field.name, _TYPES[str(field.type)]) for field in parquet.schema_arrow]
    key = columns[0][0]
    declared = ", ".join(f"{_quoted(name)} {kind}" for name, kind in columns)
    client.execute(f"drop table if exists {loading}")
    client.execute(f"create table {loading} ({declared}) engine = MergeTree order by {key}")
    rows, digest = 0, np.zeros(len(columns) - 1, np.uint64)
    step = file.stat().st_size / max(1, parquet.metadata.num_rows)
    for batch in parquet.iter_batches(max(1, int(_AT_ONCE / max(1.0, step)))):
        client.driver.insert_arrow(file.stem + "__loading", _as_table(batch), database=schema)
        digest += _digests(batch)
        rows += len(batch)
        on_progress(round(step * len(batch)))
    sums = ", ".join(
        f"sum((toUInt64({key}) + 1) * {_number_of(name, kind)})" for name, kind in columns[1:]
    )
    ((count, *held),) = client.execute(f"select count(), {sums} from {loading}").fetchall()
    if (count, held) != (rows, digest.tolist()):
        raise ProjectError(
            f"{loading} does not hold what was sent: {count} rows of {rows}, "
            f"sums {held}, expected {digest.tolist()}."
        )
    client.execute(f"alter table {loading} modify comment '{mark}'")
    if client.value(f"exists table {table}"):
        client.execute(f"exchange tables {loading} and {table}")
        client.execute(f"drop table {loading}")
    else:
        client.execute(f"rename table {loading} to {table}")


def _as_table(batch: Any) -> Any:
    import pyarrow as pa

    return pa.Table.from_batches([batch])


def _number_of(name: str, kind: str) -> str:
    """A number of 64 bits that stands for a value: an expression in ClickHouse's SQL."""
    name = _quoted(name)
    if kind.startswith("Array"):
        return (
            "arraySum(arrayMap((x, i) -> toUInt64(reinterpretAsUInt32(x)) * i, "
            f"{name}, arrayEnumerate({name})))"
        )
    if kind == "String":
        return f"reinterpretAsUInt64(substring(MD5({name}), 1, 8))"
    if kind == "Float32":
        return f"toUInt64(reinterpretAsUInt32({name}))"
    return f"toUInt64({name})"


def _digests(batch: Any) -> np.ndarray[Any, Any]:
    """The sums, modulo 2 ** 64, of a batch's columns after the first, which numbers the rows."""
    import numpy as np

    keys = batch.column(0).to_numpy().astype(np.uint64) + np.uint64(1)
    numbers = [_numbers(column) for column in batch.columns[1:]]
    return np.array([(keys * column).sum(dtype=np.uint64) for column in numbers], np.uint64)


def _numbers(column: Any) -> np.ndarray[Any, Any]:
    """What `_number_of` is, of each value."""
    import numpy as np

    kind = str(column.type)
    if kind.startswith("list"):
        values = column.flatten().to_numpy(zero_copy_only=False).astype(np.float32)
        rows = values.view(np.uint32).reshape(len(column), -1).astype(np.uint64)
        places = np.arange(1, rows.shape[1] + 1, dtype=np.uint64)
        return np.asarray((rows * places).sum(axis=1, dtype=np.uint64))
    if kind == "float":
        return np.asarray(column.to_numpy().view(np.uint32).astype(np.uint64))
    if kind in ("string", "binary"):
        texts = [v if isinstance(v, bytes) else v.encode() for v in column.to_pylist()]
        digests = [hashlib.md5(text, usedforsecurity=False).digest()[:8] for text in texts]
        return np.frombuffer(b"".join(digests), dtype="<u8").astype(np.uint64)
    return np.array(column.to_pylist()).astype(np.uint64)
