"""Weights in memory for the length of a session, and statements that read them there."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise, zip_longest

import duckdb

from generator.runtime.prefetch import BlockFile
from generator.runtime.residency import Table

_MAIN = '"relama"."main".'
_WEIGHT = re.compile(rf"{re.escape(_MAIN)}\"(\w+_weight)\"")
_RESIDENT = '"resident"."main".'

#: Bytes of one value as DuckDB stores it uncompressed; a list is an offset.
_WIDTHS = {"TINYINT": 1, "SMALLINT": 2, "INTEGER": 4, "FLOAT": 4, "BIGINT": 8, "DOUBLE": 8}
_LIST_WIDTH = 8
#: Tables of so many blocks share them with others.
_SHARED = 2
#: Bytes of tables that are packed at once: small ones share blocks.
_PACKED = 32_000_000


@dataclass(frozen=True)
class Stored:
    """A table of weights, and how it lies in the database file.

    Attributes:
        table: what the plan asks of it.
        blocks: the numbers of its blocks, in the order in which they are read.
        bitpacked: whether its numbers are stored in fewer bits than a byte.
    """

    table: Table
    blocks: tuple[int, ...]
    bitpacked: bool


def tables_read(statement: str) -> list[str]:
    """The tables of weights that a compiled statement reads in the file, in order of use.

    dbt writes the models of a statement in the order in which they need each other.
    """
    return list(dict.fromkeys(_WEIGHT.findall(statement)))


def stored_weights(
    connection: duckdb.DuckDBPyConnection, statement: str, threads: int
) -> list[Stored]:
    """How the weights lie in the file that a compiled statement reads, in order of use."""
    names = tables_read(statement)
    looked_up = "embedding_weight" if "lm_head_weight" in names else None
    size = block_size(connection)
    return [_stored(connection, name, size, threads, name == looked_up) for name in names]


def block_size(connection: duckdb.DuckDBPyConnection) -> int:
    """Bytes of a block of the database file."""
    ((size,),) = connection.execute(
        "select block_size from pragma_database_size() where database_name = 'relama'"
    ).fetchall()
    return int(size)


def _stored(
    connection: duckdb.DuckDBPyConnection,
    name: str,
    block_size: int,
    threads: int,
    looked_up: bool,
) -> Stored:
    segments = connection.execute(
        "select row_group_id, column_id, segment_type, count, compression, block_id, "
        "additional_block_ids from pragma_storage_info(?) where segment_type <> 'VALIDITY'",
        [name],
    ).fetchall()
    columns: dict[tuple[int, int], dict[int, None]] = {}
    pieces: dict[tuple[int, int], int] = {}
    vectors: dict[tuple[int, int], int] = {}
    size = elements = 0
    bitpacked = False
    for row_group, column, kind, count, compression, block, more in segments:
        key = (row_group, column)
        on_disk = dict.fromkeys(b for b in (block, *(more or ())) if b >= 0)
        columns.setdefault(key, {}).update(on_disk)
        size += count * _WIDTHS.get(kind, _LIST_WIDTH)
        if kind in ("TINYINT", "FLOAT"):
            elements += count
            pieces[key] = pieces.get(key, 0) + count * _WIDTHS[kind]
            # What is not float32 is turned into float32 to be computed with.
            as_float = 0 if kind == "FLOAT" else count * _WIDTHS["FLOAT"]
            vectors[key] = vectors.get(key, 0) + count * _WIDTHS[kind] + as_float
        bitpacked |= kind == "TINYINT" and compression == "BitPacking"
    # Each thread reads a column.
    waiting = [list(column) for column in columns.values()]
    together = (waiting[i : i + threads] for i in range(0, len(waiting), threads))
    in_order = chain.from_iterable(chain.from_iterable(zip_longest(*some)) for some in together)
    blocks = dict.fromkeys(block for block in in_order if block is not None)
    if len(blocks) > _SHARED:
        size = len(blocks) * block_size
    piece, vector = (max(sizes.values(), default=0) for sizes in (pieces, vectors))
    table = Table(name, size, piece, vector, elements, looked_up)
    return Stored(table, tuple(blocks), bitpacked)


def hold(
    connection: duckdb.DuckDBPyConnection,
    weights: Sequence[Stored],
    file: BlockFile,
) -> None:
    """Copies tables into a database in memory, stored as they are in the file.

    Without a place for temporary files DuckDB cannot evict what is in it.
    """
    # COMPRESS packs small columns into common blocks; without it each takes a block.
    connection.execute("attach ':memory:' as resident (compress, row_group_size 2048)")
    ((threads,),) = connection.execute("select current_setting('threads')").fetchall()
    connection.execute("set threads = 1")  # More would copy the rows in pieces, and merge them.
    waiting = 0
    for weight, following in pairwise([*sorted(weights, key=_is_large), None]):
        assert weight is not None
        if following is not None:
            file.read_ahead(following.blocks)
        compression = "bitpacking" if weight.bitpacked else "uncompressed"
        connection.execute(f"set force_compression = '{compression}'")
        name = f'"{weight.table.name}"'
        connection.execute(f"create table {_RESIDENT}{name} as from {_MAIN}{name}")
        file.drop(weight.blocks)
        waiting += weight.table.size
        if waiting > _PACKED or following is None:
            connection.execute("checkpoint resident")
            waiting = 0
    connection.execute("set force_compression = 'uncompressed'")
    connection.execute(f"set threads = {threads}")


def _is_large(weight: Stored) -> bool:
    return len(weight.blocks) > _SHARED


def redirected(statement: str, names: Collection[str]) -> str:
    """A compiled statement that reads the tables `names` where `hold` has put them."""
    return re.sub(
        rf"{re.escape(_MAIN)}\"(\w+)\"",
        lambda found: f'{_RESIDENT}"{found[1]}"' if found[1] in names else found[0],
        statement,
    )
