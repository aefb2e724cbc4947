"""A connection to the project's DuckDB file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from relama import kernels
from relama.errors import ProjectError
from relama.project.manifest import DISABLED_OPTIMIZERS, LIBRARY, Project
from relama.project.variables import variables
from relama.runtime.profile import Database, database_of
from relama.runtime.stack import deepen_stack


@contextmanager
def open_database(project: Project) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection to the project's database, set up as `profiles.yml` does for dbt.

    Raises:
        ProjectError: the project has not been built, or another process holds the file.
    """
    opened = database_of(project)
    if not opened.path.is_file():
        raise ProjectError(
            f"{project.directory} has not been built; run: relama build {project.directory}"
        )
    deepen_stack()
    native = kernels_of(project)
    connection = duckdb.connect(config={"allow_unsigned_extensions": "true"} if native else {})
    try:
        if native:
            _load(connection, native)
        _attach(connection, opened)
        connection.execute(f"set disabled_optimizers = '{DISABLED_OPTIMIZERS}'")
        connection.execute("set force_compression = 'uncompressed'")
        yield connection
    finally:
        connection.close()


def kernels_of(project: Project) -> Path | None:
    """The extension that does the project's arithmetic, or `None` where it is SQL.

    As the macro `_native` says it: the profile and the variable `relama_kernels` have to allow it.
    """
    if project.target.name != "duckdb":
        return None
    if not (_wants_kernels(project, True) and database_of(project).loads_unsigned):
        return None
    return project.directory / LIBRARY / "kernels" / kernels.FILE_NAME


def kernels_are_kept_out(project: Project) -> bool:
    """Whether the project wants native kernels, and its profile does not let DuckDB load them."""
    if project.target.name != "duckdb":
        return False
    return _wants_kernels(project, False) and not database_of(project).loads_unsigned


def _wants_kernels(project: Project, otherwise: bool) -> bool:
    """The variable `relama_kernels`, as dbt takes it: `otherwise` where there is none."""
    return str(variables(project).get("relama_kernels", otherwise)).lower() == "true"


def _load(connection: duckdb.DuckDBPyConnection, file: Path) -> None:
    try:
        kernels.load(connection, file.resolve())
    except duckdb.Error as error:
        raise ProjectError(
            f"The native kernels in {file} cannot be loaded ({_one_line(error)}); write the "
            "project anew with relama new --kernels native --force, or set the variable "
            "relama_kernels to false in dbt_project.yml to compute in SQL."
        ) from None


def _attach(connection: duckdb.DuckDBPyConnection, opened: Database) -> None:
    path = opened.path
    quoted = str(path).replace("'", "''")
    try:
        connection.execute(f"attach '{quoted}' as {opened.quoted_catalog} (row_group_size 2048)")
        connection.execute(f"use {opened.quoted}")
    except duckdb.IOException as error:
        if "lock" not in str(error).lower():
            raise ProjectError(f"{path} cannot be opened: {_one_line(error)}") from None
        pid = re.search(r"PID (\d+)", str(error))
        holder = f"process {pid.group(1)}" if pid else "another process"
        raise ProjectError(
            f"{path} is in use by {holder}; close it (a dbt run, a DuckDB shell "
            "or another relama) and try again."
        ) from None
    except duckdb.Error as error:
        raise ProjectError(f"{path} cannot be opened: {_one_line(error)}") from None


def reattach(connection: duckdb.DuckDBPyConnection, project: Project) -> None:
    """Opens the file again: DuckDB forgets where the blocks of tables lie that it has read."""
    opened = database_of(project)
    connection.execute("use memory")
    connection.execute(f"detach {opened.quoted_catalog}")
    _attach(connection, opened)


def _one_line(error: Exception) -> str:
    return str(error).splitlines()[0]
