"""How the weights of a project lie in its database file."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import chain, zip_longest

import duckdb

from relama import names
from relama.graph import Kind, Weight
from relama.passes.cut_blocks import is_small
from relama.project.kept_graph import KeptGraph
from relama.runtime.memory.prefetch import Blocks
from relama.runtime.memory.residency import Table

#: What reads only the rows of a step's tokens.
_LOOKED_UP = {Kind.EMBEDDING}
#: Bytes of one value as DuckDB stores it uncompressed; a list is an offset.
_WIDTHS = {"TINYINT": 1, "SMALLINT": 2, "INTEGER": 4, "FLOAT": 4, "BIGINT": 8, "DOUBLE": 8}
_LIST_WIDTH = 8
#: Tables of so many blocks share them with others.
SHARED = 2
#: Rows of a row group of what is held in memory, DuckDB's least.
RESIDENT_ROW_GROUP = 2048
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
        by_expert: whether an expert has a row, and empty ones that fill its row group.
    """

    table: Table
    blocks: Blocks
    bitpacked: bool
    by_expert: bool = False


def in_order_of_use(weights: Collection[str], tables: Iterable[str]) -> list[str]:
    """Those of `weights` that are among the tables that a statement reads.

    Of a table that is read twice, the first only looks rows up: an embedding that is the
    output's matrix as well.
    """
    read = [name for name in tables if name in weights]
    return list(reversed(dict.fromkeys(reversed(read))))


def stored_weights(
    connection: duckdb.DuckDBPyConnection,
    graph: KeptGraph,
    tables: Iterable[str],
    threads: int,
    native: bool = False,
) -> list[Stored]:
    """How the graph's weights among `tables` lie in the file, in order of use."""
    size = block_size(connection)
    return [
        _stored(
            connection,
            graph.weights[name],
            size,
            threads,
            native=native,
            looked_up=graph.readers(name) == _LOOKED_UP,
            share=graph.share(graph.weights[name]),
        )
        for name in in_order_of_use(graph.weights, tables)
    ]


def block_size(connection: duckdb.DuckDBPyConnection) -> int:
    """Bytes of a block of the database file."""
    ((size,),) = connection.execute(
        "select block_size from pragma_database_size() where database_name = current_database()"
    ).fetchall()
    return int(size)


def _stored(
    connection: duckdb.DuckDBPyConnection,
    weight: Weight,
    block_size: int,
    threads: int,
    *,
    native: bool,
    looked_up: bool,
    share: float,
) -> Stored:
    # Without parameters: for each of them DuckDB imports numpy and pandas where they are.
    segments = connection.execute(
        "select row_group_id, column_id, column_path, segment_type, count, compression, block_id, "
        f"additional_block_ids from pragma_storage_info('{weight.name}') "
        "where segment_type <> 'VALIDITY'"
    ).fetchall()
    columns: dict[tuple[int, int], dict[int, None]] = {}
    pieces: dict[tuple[int, int], int] = {}
    numbers: dict[tuple[tuple[int, int], str], int] = {}
    size = 0
    bitpacked = False
    by_expert = bool(weight.num_experts and weight.blocks)
    for row_group, column, path, kind, rows, compression, block, more in segments:
        key = (row_group, column)
        # Of the rows that fill an expert's row group, few are held, see `hold`.
        fills = by_expert and "," not in path
        count = min(rows, RESIDENT_ROW_GROUP) if fills else rows
        on_disk = dict.fromkeys(b for b in (block, *(more or ())) if b >= 0)
        columns.setdefault(key, {}).update(on_disk)
        size += count * _WIDTHS.get(kind, _LIST_WIDTH)
        if kind in ("TINYINT", "FLOAT"):
            pieces[key] = pieces.get(key, 0) + count * _WIDTHS[kind]
            numbers[key, kind] = numbers.get((key, kind), 0) + count
        bitpacked |= kind == "TINYINT" and compression == "BitPacking"
    blocks = reading_order(columns, threads)
    in_memory = size + _SMALL
    if len(blocks) > SHARED:
        size = len(blocks) * block_size
        in_memory = -(-size // _BLOCK) * _BLOCK
    piece = max(pieces.values(), default=0)
    # Codes are turned into floats, and those of a matrix of one row into doubles, where a
    # prompt is read. Native functions read them as they are, and a small matrix at once.
    computed = _WIDTHS["DOUBLE" if weight.blocks and not bitpacked else "FLOAT"]
    each = [_vector(kind, count, 0 if native else computed) for (_, kind), count in numbers.items()]
    if by_expert:
        vectors = sum(each) // weight.num_experts
    else:
        vectors = sum(each) if native and is_small(weight) else max(each, default=0)
    table = Table(
        weight.name,
        size,
        kind=names.parsed(weight.name).base,
        layer=weight.layer,
        in_memory=in_memory,
        pieces=weight.blocks or 1,
        piece=piece,
        vectors=vectors,
        elements=weight.rows * weight.columns,
        looked_up=looked_up,
        share=share,
    )
    # Pieces of columns wait for a thread, and which comes next is not known. The rows of
    # a table come in order.
    in_order = table.pieces <= threads
    return Stored(table, Blocks(tuple(blocks), in_order), bitpacked, by_expert)


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
