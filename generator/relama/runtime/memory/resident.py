"""Weights in memory for the length of a session."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

import duckdb

from relama.runtime.memory.prefetch import BlockFile
from relama.runtime.memory.stored import RESIDENT_ROW_GROUP, SHARED, Stored

_RESIDENT = '"resident"."main".'
#: DuckDB's row group in a file, which the macro `matrix_blocks` fills for each expert.
ROW_GROUP = 122_880
#: Bytes that copying takes beside the copies.
_COPYING = 96_000_000


def resident(tables: Iterable[str]) -> dict[str, str]:
    """Where `hold` puts tables, by name."""
    return {name: f'{_RESIDENT}"{name}"' for name in tables}


def hold(
    connection: duckdb.DuckDBPyConnection,
    weights: Sequence[Stored],
    file: BlockFile,
    at_most: int,
) -> None:
    """Copies tables into a database in memory, stored as they are in the file.

    Without a place for temporary files DuckDB cannot evict what is in it. Its limit rises
    with what is held, up to `at_most` bytes, so that its copies of the file's blocks make
    room for that.
    """
    connection.execute(
        f"attach ':memory:' as resident (compress, row_group_size {RESIDENT_ROW_GROUP})"
    )
    ((threads,),) = connection.execute("select current_setting('threads')").fetchall()
    connection.execute("set threads = 1")  # More would copy the rows in pieces, and merge them.
    held = 0
    # The largest first: while a table is copied, it takes two or three times its size.
    in_order = sorted(weights, key=lambda weight: -weight.table.size)
    for weight, following in pairwise([*in_order, None]):
        assert weight is not None
        if following is not None:
            file.read_ahead(following.blocks.numbers)
        needed = held + 3 * weight.table.held + _COPYING
        connection.execute(f"set memory_limit = '{min(needed, at_most)}B'")
        compression = "bitpacking" if weight.bitpacked else "uncompressed"
        connection.execute(f"set force_compression = '{compression}'")
        name = f'"{weight.table.name}"'
        connection.execute(f"create table {_RESIDENT}{name} as from {name}{_kept(weight)}")
        file.drop(weight.blocks.numbers)
        if len(weight.blocks.numbers) > SHARED:
            # Packs its columns into common blocks. What is small would take a block then.
            connection.execute("checkpoint resident")
        held += weight.table.held
    connection.execute("set force_compression = 'uncompressed'")
    connection.execute(f"set threads = {threads}")


def _kept(weight: Stored) -> str:
    """Of the rows of experts, those that fill a smaller row group."""
    if not weight.by_expert:
        return ""
    return f" where rowid % {ROW_GROUP} < {RESIDENT_ROW_GROUP}"
