"""Weights in memory for the length of a session, and statements that read them there."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise, zip_longest

import duckdb

from relama import names
from relama.runtime.prefetch import BlockFile, Blocks
from relama.runtime.residency import Table

_RESIDENT = '"resident"."main".'
#: A table as dbt writes it: "catalog"."schema"."name".
_TABLE = re.compile(rf'(?!{re.escape(_RESIDENT)})"[^"]+"\."[^"]+"\."(\w+)"')

#: Bytes of one value as DuckDB stores it uncompressed; a list is an offset.
_WIDTHS = {"TINYINT": 1, "SMALLINT": 2, "INTEGER": 4, "FLOAT": 4, "BIGINT": 8, "DOUBLE": 8}
_LIST_WIDTH = 8
#: Tables of so many blocks share them with others.
_SHARED = 2
#: Bytes of a block in memory: a column's rest takes a whole one.
_BLOCK = 1 << 18
#: Bytes that a small table takes beside its values.
_SMALL = 1 << 16
#: Bytes that copying takes beside the copies.
_COPYING = 96_000_000


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


def tables_read(statement: str) -> list[str]:
    """The tables of weights that a compiled statement reads in the file, in order of use.

    dbt writes the models of a statement in the order in which they need each other. Of a
    table that is named twice, the first only looks rows up: an embedding that is the
    output's matrix as well.
    """
    tables = [name for name in _TABLE.findall(statement) if names.is_weight(name)]
    return list(reversed(dict.fromkeys(reversed(tables))))


def stored_weights(
    connection: duckdb.DuckDBPyConnection, statement: str, threads: int
) -> list[Stored]:
    """How the weights lie in the file that a compiled statement reads, in order of use."""
    tables = tables_read(statement)
    looked_up = names.EMBEDDING_WEIGHT if names.HEAD_WEIGHT in tables else None
    size = block_size(connection)
    return [_stored(connection, name, size, threads, name == looked_up) for name in tables]


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
    if len(blocks) > _SHARED:
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
    connection.execute("attach ':memory:' as resident (compress, row_group_size 2048)")
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
        connection.execute(f"create table {_RESIDENT}{name} as from {name}")
        file.drop(weight.blocks.numbers)
        if len(weight.blocks.numbers) > _SHARED:
            # Packs its columns into common blocks. What is small would take a block then.
            connection.execute("checkpoint resident")
        held += weight.table.held
    connection.execute("set force_compression = 'uncompressed'")
    connection.execute(f"set threads = {threads}")


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


def redirected(statement: str, tables: Collection[str]) -> str:
    """A compiled statement that reads `tables` where `hold` has put them."""
    return _TABLE.sub(
        lambda found: f'{_RESIDENT}"{found[1]}"' if found[1] in tables else found[0], statement
    )


def with_own(statement: str, relations: Mapping[str, str]) -> str:
    """A compiled statement that reads `relations` in place of the tables of these names."""
    return _TABLE.sub(lambda found: relations.get(found[1], found[0]), statement)
