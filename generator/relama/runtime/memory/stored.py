"""How the weights of a project lie in its database file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain, zip_longest

import duckdb

from relama import names
from relama.runtime.memory.prefetch import Blocks
from relama.runtime.memory.residency import Table

#: Bytes of one value as DuckDB stores it uncompressed; a list is an offset.
_WIDTHS = {"TINYINT": 1, "SMALLINT": 2, "INTEGER": 4, "FLOAT": 4, "BIGINT": 8, "DOUBLE": 8}
_LIST_WIDTH = 8
#: Tables of so many blocks share them with others.
SHARED = 2
#: Bytes of a block in memory: a column's rest takes a whole one.
_BLOCK = 1 << 18
#: Bytes that a small table takes beside its values.
_SMALL = 1 << 16


@dataclass(frozen=True)
class Stored:
    """A table of weights, and how it lies in the database file.

    Attributes:
        table: what the plan asks of it.
        blocks: its blocks.
        bitpacked: whether its numbers are stored in fewer bits than a byte.
    """

    table: Table
    blocks: Blocks
    bitpacked: bool


def weights_read(tables: Iterable[str]) -> list[str]:
    """The weights among the tables that a statement reads, in order of use.

    Of a table that is read twice, the first only looks rows up: an embedding that is the
    output's matrix as well.
    """
    weights = [name for name in tables if names.is_weight(name)]
    return list(reversed(dict.fromkeys(reversed(weights))))


def stored_weights(
    connection: duckdb.DuckDBPyConnection, tables: Iterable[str], threads: int
) -> list[Stored]:
    """How the weights among `tables` lie in the file, in order of use."""
    weights = weights_read(tables)
    looked_up = names.EMBEDDING_WEIGHT if names.HEAD_WEIGHT in weights else None
    size = block_size(connection)
    return [_stored(connection, name, size, threads, name == looked_up) for name in weights]


def block_size(connection: duckdb.DuckDBPyConnection) -> int:
    """Bytes of a block of the database file."""
    ((size,),) = connection.execute(
        "select block_size from pragma_database_size() where database_name = current_database()"
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
    numbers: dict[tuple[tuple[int, int], str], int] = {}
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
            numbers[key, kind] = numbers.get((key, kind), 0) + count
        bitpacked |= kind == "TINYINT" and compression == "BitPacking"
    blocks = reading_order(columns, threads)
    in_memory = size + _SMALL
    if len(blocks) > SHARED:
        size = len(blocks) * block_size
        in_memory = -(-size // _BLOCK) * _BLOCK
    piece = max(pieces.values(), default=0)
    ((rows,),) = connection.execute(f'select count(*) from "{name}"').fetchall()
    # Codes are turned into floats, and those of a matrix of one row into doubles, where a
    # prompt is read.
    computed = _WIDTHS["DOUBLE" if rows == 1 and not bitpacked else "FLOAT"]
    vectors = max(
        (_vector(kind, count, computed) for (_, kind), count in numbers.items()), default=0
    )
    count = sum(1 for size in pieces.values() if size >= piece / 2) if rows == 1 else 1
    table = Table(name, size, in_memory, count, piece, vectors, elements, looked_up)
    # Pieces of columns wait for a thread, and which comes next is not known. The rows of
    # a table come in order.
    in_order = count <= threads
    return Stored(table, Blocks(tuple(blocks), in_order), bitpacked)


def reading_order(columns: Mapping[tuple[int, int], Iterable[int]], threads: int) -> list[int]:
    """The blocks of a table in the order in which DuckDB reads them.

    Each thread reads a column. Of the blocks of a matrix, which are joined one after the
    other, DuckDB computes the last first; of more than there are threads, any.

    Args:
        columns: the blocks of each column, by row group and number.
        threads: DuckDB's.
    """
    waiting = [columns[key] for key in sorted(columns, key=lambda key: (key[0], -key[1]))]
    together = (waiting[i : i + threads] for i in range(0, len(waiting), threads))
    in_order = chain.from_iterable(chain.from_iterable(zip_longest(*some)) for some in together)
    return list(dict.fromkeys(block for block in in_order if block is not None))


def _vector(kind: str, count: int, computed: int) -> int:
    """Bytes of the vector that a piece of a column becomes, and of what is computed with.

    Vectors grow by doubling.

    Args:
        kind: the type of the numbers.
        count: how many there are.
        computed: bytes of a number that a code is turned into.
    """
    numbers: int = 1 << max(0, count - 1).bit_length()
    return numbers * (_WIDTHS[kind] + (0 if kind == "FLOAT" else computed))
