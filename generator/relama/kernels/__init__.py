"""Native kernels: the operators of the graph as functions of DuckDB, written in C.

`relama_kernels.duckdb_extension` is built by `relama.kernels.build`. Without it, relama
works in stock SQL.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from relama.errors import ProjectError

if TYPE_CHECKING:
    import duckdb

#: DuckDB finds the entry point, relama_kernels_init_c_api, by the file's name.
FILE_NAME = "relama_kernels.duckdb_extension"


def path() -> Path | None:
    """The kernels of this installation, or None where they have not been built."""
    file = Path(__file__).parent / FILE_NAME
    return file if file.is_file() else None


def chosen(kernels: str) -> Path | None:
    """The kernels that a project gets: `auto` takes what there is, `native` must have some.

    Raises:
        ProjectError: `native`, and they have not been built.
    """
    file = None if kernels == "sql" else path()
    if kernels == "native" and file is None:
        raise ProjectError(
            "The native kernels are not built; run: python -m relama.kernels.build "
            "(it needs a C compiler), or leave --kernels native out to compute in SQL."
        )
    return file


def load(connection: duckdb.DuckDBPyConnection, file: Path) -> None:
    """Loads the kernels into a database, for all of its connections.

    The database must have been opened with `config={"allow_unsigned_extensions": "true"}`.
    """
    connection.execute(f"load '{str(file).replace(chr(39), 2 * chr(39))}'")
