"""DuckDB, embedded: the weights are Parquet files beside the database's own file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

from relama.targets.base import Places, Sampling, Target, does_not_fit

if TYPE_CHECKING:
    import duckdb

    from relama.project.manifest import Project

#: How a session chooses tokens: plain dbt reads the seed, which no session changes.
_SAMPLING = "temp.main.session_sampling"
#: The tokens of a session's sequence: its steps read no other's.
_TOKENS = "temp.main.session_tokens"


class DuckDB(Target):
    """The default, and what everything is written for first."""

    name = "duckdb"
    title = "DuckDB"
    storages = ("float32", "int8", "int4")
    cache_by_layer = True
    has_blocks = True
    has_kernels = True
    has_batches = True
    has_memory_limit = True
    is_loaded = False
    types: ClassVar[Mapping[str, str]] = {
        "double": "double",
        "integer": "integer",
        "bigint": "bigint",
    }

    def place(self, project: Project) -> str:
        from relama.runtime.profile import database_of

        return database_of(project).quoted

    def address(self, project: Project) -> str:
        from relama.runtime.profile import database_of

        return str(database_of(project).path)

    def is_there(self, project: Project) -> bool:
        from relama.runtime.profile import database_of

        return database_of(project).path.is_file()

    def connect(self, project: Project) -> AbstractContextManager[duckdb.DuckDBPyConnection]:
        from relama.runtime.database import open_database

        return open_database(project)

    @contextmanager
    def preparing(self, project: Project) -> Iterator[None]:
        import duckdb

        try:
            yield
        except duckdb.Error as error:
            raise does_not_fit(project, error) from None

    def open_session(
        self, project: Project, connection: duckdb.DuckDBPyConnection, sequence_id: int
    ) -> Places:
        from relama.runtime.profile import database_of

        connection.execute(
            f"create or replace temporary table {_SAMPLING} "
            "(temperature double, top_k integer, top_p double, seed bigint)"
        )
        connection.execute(
            f"create or replace temporary view {_TOKENS} as "
            f"select * from {database_of(project).quoted}.tokens where sequence_id = {sequence_id}"
        )
        return {"sampling": _SAMPLING, "tokens": _TOKENS}

    def choose(self, connection: duckdb.DuckDBPyConnection, sampling: Sampling) -> None:
        connection.execute(f"delete from {_SAMPLING}")
        # Without parameters: for each of them DuckDB imports numpy and pandas where they are.
        values = ", ".join(map(repr, sampling))
        connection.execute(f"insert into {_SAMPLING} values ({values})")

    def stored(self, project: Project, connection: Any) -> dict[str, int]:
        from relama.runtime.profile import database_of

        ((rows,),) = connection.execute(
            "select coalesce(sum(estimated_size), 0) from duckdb_tables() "
            "where database_name = current_database()"
        ).fetchall()
        return {"rows": int(rows), "bytes": database_of(project).path.stat().st_size}
