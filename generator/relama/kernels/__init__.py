"""Native kernels: the operators of the graph as functions of DuckDB, written in C.

`relama_kernels.duckdb_extension` is built by `relama.kernels.build`. Without it, relama
works in stock SQL.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import duckdb

#: DuckDB finds the entry point, relama_kernels_init_c_api, by the file's name.
FILE_NAME = "relama_kernels.duckdb_extension"


def path() -> Path | None:
    """The kernels of this installation, or None where they have not been built."""
    file = Path(__file__).parent / FILE_NAME
    return file if file.is_file() else None


def load(connection: duckdb.DuckDBPyConnection, file: Path) -> None:
    """Loads the kernels into a database, for all of its connections.

    The database must have been opened with `config={"allow_unsigned_extensions": "true"}`.
    """
    connection.execute(f"load '{str(file).replace(chr(39), 2 * chr(39))}'")
