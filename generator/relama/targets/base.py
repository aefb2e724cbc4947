"""What a database is to relama: what a project for it looks like, and how a session uses it.

The SQL of a database is in macros, by dbt's `adapter.dispatch`; here is what Python has to know.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from relama.errors import InputError, ProjectError

if TYPE_CHECKING:
    from relama.project.manifest import Project
    from relama.runtime.statements import Statement

#: Temperature, top_k, top_p and seed.
Sampling = tuple[float, int, float, int]

#: What the comment of a table that relama has loaded begins with; the file's digest follows.
MARK = "relama:"

#: Where tables are, by name, as they stand in SQL.
Places = Mapping[str, str]


class Connection(Protocol):
    """An open database; each target has its driver's own."""

    def execute(self, sql: Any, /) -> Any: ...


class Target(ABC):
    """A database that projects can be written for.

    Attributes:
        name: of dbt's adapter, of the macros, and of `relama new --target`.
        title: how the database calls itself.
        storages: how weights can be stored, the usual way first.
        cache_by_layer: whether every layer has a cache of its own, with pages; otherwise one
            table has the keys and values of all layers.
        has_blocks: whether the matrix of a linear layer is one row, cut into blocks.
        has_kernels: whether native functions can do the arithmetic.
        has_batches: whether materializations answer tables of prompts, which takes the tokenizer
            in SQL.
        has_memory_limit: whether a session can keep its process within one.
        is_loaded: whether staged weights have to be loaded into the database before dbt can
            build.
        step: the materialization of the model `step`.
        types: how the database calls the types of the seed's columns.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    storages: ClassVar[tuple[str, ...]]
    cache_by_layer: ClassVar[bool] = False
    has_blocks: ClassVar[bool] = False
    has_kernels: ClassVar[bool] = False
    has_batches: ClassVar[bool] = False
    has_memory_limit: ClassVar[bool] = False
    is_loaded: ClassVar[bool] = True
    step: ClassVar[str] = "table"
    types: ClassVar[Mapping[str, str]] = {
        "double": "double precision",
        "integer": "integer",
        "bigint": "bigint",
    }

    def checked_storage(self, storage: str | None) -> str:
        """The storage, or the usual one for None. Raises `InputError` for one it does not have."""
        if storage is None:
            return self.storages[0]
        if storage not in self.storages:
            raise InputError(
                f"The target {self.name} has no storage '{storage}'; "
                f"storages: {', '.join(self.storages)}."
            )
        return storage

    def check_memory_limit(self) -> None:
        """Raises `InputError` where a session cannot be kept within one."""
        if not self.has_memory_limit:
            raise InputError(
                f"relama does not limit the memory of {self.title}, which is a server's own "
                "affair; leave --memory-limit out."
            )

    def settings(self, storage: str) -> dict[str, Any]:
        """What the templates of `dbt_project.yml` and `profiles.yml` read beside the rest."""
        return {}

    @abstractmethod
    def place(self, project: Project) -> str:
        """Where the profile has the project's models, within the database or the server."""

    def address(self, project: Project) -> str:
        """Which database that is, as far as the compiled SQL does not depend on it."""
        return ""

    def is_there(self, project: Project) -> bool:
        """Whether there is a database to connect to; a server always is, or `connect` says why."""
        return True

    @abstractmethod
    def connect(self, project: Project) -> AbstractContextManager[Any]:
        """A connection to the project's database, as the profile says, in the models' schema.

        Raises:
            ProjectError: it cannot be had, or what is done with it fails: in one sentence.
        """

    def check_loaded(self, project: Project, connection: Connection, names: Sequence[str]) -> None:
        """Raises `ProjectError` where staged weights are not in the database."""
        if not self.is_loaded:
            return
        missing = set(names) - self.staged(project, connection)
        if missing:
            raise ProjectError(
                f"The weights of {project.directory} are not in the database (there is no table "
                f"'{min(missing)}'); run: relama load {project.directory}"
            )

    def staged(self, project: Project, connection: Any) -> set[str]:
        """The names of the tables that `load` has filled."""
        marks = self.marks(project, connection)
        return {name for name, mark in marks.items() if mark.startswith(MARK)}

    @contextmanager
    def transaction(self, connection: Connection, keep: bool = True) -> Iterator[None]:
        """Runs its body as one transaction, which is undone on an error or unless `keep`."""
        connection.execute("begin")
        try:
            yield
        except BaseException:
            connection.execute("rollback")
            raise
        connection.execute("commit" if keep else "rollback")

    def relations(self, connection: Connection) -> set[str]:
        """The names of all tables and views in the models' schema."""
        rows = connection.execute(
            "select table_name from information_schema.tables "
            "where table_catalog = current_database() and table_schema = current_schema()"
        ).fetchall()
        return {str(name) for (name,) in rows}

    @contextmanager
    def scratch(self, project: Project, connection: Any) -> Iterator[Places]:
        """Within it, the tables of the state are empty; afterwards they are as they were.

        Yields where they are, by name, where that is another place.
        """
        with self.transaction(connection, keep=False):
            for table in project.state_tables:
                connection.execute(self.emptied(table))
            yield {}

    @contextmanager
    def preparing(self, project: Project) -> Iterator[None]:
        """Surrounds the preparation of a session's statements.

        Raises `ProjectError` where they do not fit the tables.
        """
        yield

    @abstractmethod
    def open_session(self, project: Project, connection: Any, sequence_id: int) -> Places:
        """Makes `sampling` and `tokens` tables of a session's own, for one sequence.

        Returns:
            Where they are, by name.
        """

    @abstractmethod
    def choose(self, connection: Any, sampling: Sampling) -> None:
        """Sets how a session chooses tokens."""

    def prepare(
        self, connection: Any, name: str, table: str, statement: Statement
    ) -> Sequence[str]:
        """Prepares to insert a select into a table. Returns what to execute for that."""
        connection.execute(f"prepare {name} as insert into {table} {statement.sql}")
        return [f"execute {name}"]

    def rows(
        self, connection: Any, statement: Statement, columns: str, order: str
    ) -> list[tuple[Any, ...]]:
        """The columns of a select's rows, in an order."""
        sql = f"select {columns} from ({statement.sql}) as selected {order}"
        return list(connection.execute(sql).fetchall())

    def delete(self, connection: Any, table: str, condition: str) -> None:
        """Deletes rows of a table."""
        connection.execute(f"delete from {table} where {condition}")

    def emptied(self, table: str) -> str:
        """A statement that deletes all rows of a table."""
        return f"delete from {table}"

    @abstractmethod
    def stored(self, project: Project, connection: Any) -> dict[str, int]:
        """`rows` in all tables of the project, and `bytes` that they take."""

    def load(
        self,
        project: Project,
        files: Sequence[Path],
        on_progress: Callable[..., None],
    ) -> dict[str, int]:
        """Loads staged weights into the database, each table whole or not at all.

        What was loaded before and has not changed stays.

        Args:
            files: Parquet files; a table has the name of its file.
            on_progress: told the bytes in all as `total`, and then those that are done.

        Returns:
            `loaded` and `kept`, numbers of tables, and `bytes` that were loaded.

        Raises:
            InputError: dbt reads the files where they are.
            ProjectError: the database refuses, or holds something else under the name.
        """
        if not self.is_loaded:
            raise InputError(
                f"{self.title} reads the staged weights where they are: there is nothing to load. "
                f"Next: relama build {project.directory}"
            )
        on_progress(total=sum(file.stat().st_size for file in files))
        counts = {"loaded": 0, "kept": 0, "bytes": 0}
        with self.loading(project) as connection:
            marks = self.marks(project, connection)
            for file in files:
                size, found = file.stat().st_size, marks.get(file.stem)
                with file.open("rb") as stream:
                    mark = MARK + hashlib.file_digest(stream, "sha256").hexdigest()[:32]
                if found == mark:
                    on_progress(size)
                    counts["kept"] += 1
                    continue
                if found is not None and not found.startswith(MARK):
                    raise ProjectError(
                        f"The table {file.stem} of the staged weights is there and was not loaded "
                        "by relama; drop it, or choose another schema in profiles.yml."
                    )
                self.load_table(project, connection, file, mark, on_progress)
                counts["loaded"] += 1
                counts["bytes"] += size
        return counts

    def marks(self, project: Project, connection: Any) -> dict[str, str]:
        """What the comments of the tables of staged weights say, by name; none is empty."""
        raise NotImplementedError

    def loading(self, project: Project) -> AbstractContextManager[Any]:
        """A connection to load through; the schema of the staged weights is there."""
        raise NotImplementedError

    def load_table(
        self,
        project: Project,
        connection: Any,
        file: Path,
        mark: str,
        on_progress: Callable[..., None],
    ) -> None:
        """Loads a Parquet file, in place of what an older load has left, and marks the table."""
        raise NotImplementedError


def does_not_fit(project: Project, error: Exception) -> ProjectError:
    """What `preparing` raises for the driver's own error."""
    return ProjectError(
        f"The compiled step of {project.directory} does not fit its tables "
        f"({str(error).splitlines()[0]}); run: relama build {project.directory}"
    )


def driver(target: str, module: str) -> Any:
    """A target's driver, which an extra of this package installs."""
    try:
        return import_module(module)
    except ImportError:
        raise ProjectError(
            f"The target {target} needs a driver that is not installed; "
            f"install it with: pip install 'relama[{target}]'"
        ) from None
