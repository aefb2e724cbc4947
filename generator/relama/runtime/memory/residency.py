"""The plan of a memory limit: which weights stay in memory, and which are streamed.

A token reads every weight once, in the same order. A cache that evicts what was used
longest ago keeps nothing of that as soon as the weights are larger than it is: each
table is evicted just before its turn. So what stays is decided beforehand. Nothing
here touches a database.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from relama.errors import InputError
from relama.runtime.memory.size import megabytes


@dataclass(frozen=True)
class Table:
    """A table of weights that a step reads.

    Attributes:
        name: its name in the database.
        size: bytes that it takes on disk.
        kind: its name without its layer, such as `o_proj`.
        layer: the layer that it belongs to, `None` outside the layers.
        in_memory: bytes that it takes in memory, where DuckDB's blocks are larger; 0: the same.
        pieces: columns that threads read, the blocks of a matrix.
        piece: bytes of the largest piece of a column that a thread reads at once.
        vectors: bytes of the vectors that such a piece becomes: as stored, and as doubles.
        elements: numbers in it, which is its multiply-adds a token.
        looked_up: only the rows of the step's tokens are read, not all of it.
        share: the part of it that a token reads: of the experts of a mixture, those chosen.
    """

    name: str
    size: int
    kind: str = ""
    layer: int | None = None
    in_memory: int = 0
    pieces: int = 1
    piece: int = 0
    vectors: int = 0
    elements: int = 0
    looked_up: bool = False
    share: float = 1.0

    @property
    def held(self) -> int:
        """Bytes that it takes where it is resident."""
        return self.in_memory or self.size


@dataclass(frozen=True)
class Overhead:
    """What a session needs beside the weights, in bytes.

    Attributes:
        process: Python, DuckDB's code and catalogue, and the tokenizer.
        statement: DuckDB's own buffers for the state and for a step's intermediate rows.
        working: vectors that are computed with, which DuckDB's limit does not count.
        buffers: DuckDB's buffers for blocks that are streamed.
        ahead: the operating system's copies of blocks that are streamed.
    """

    process: int
    statement: int
    working: int
    buffers: int
    ahead: int

    @property
    def streaming(self) -> int:
        """What is needed only where something is streamed."""
        return self.buffers + self.ahead

    @property
    def total(self) -> int:
        return self.process + self.statement + self.working + self.streaming


@dataclass(frozen=True)
class Plan:
    """Where each table of weights is during a session.

    Attributes:
        limit: bytes that the process may have in memory.
        overhead: the part of it that is not weights.
        tables: all tables, in order of use.
        resident: those kept in memory.
    """

    limit: int
    overhead: Overhead
    tables: tuple[Table, ...]
    resident: tuple[Table, ...]

    @property
    def streamed(self) -> tuple[Table, ...]:
        """Tables read from disk for every token, in order of use."""
        names = {table.name for table in self.resident}
        return tuple(table for table in self.tables if table.name not in names)

    @property
    def resident_bytes(self) -> int:
        """Bytes of memory that the resident tables take."""
        return sum(table.held for table in self.resident)

    @property
    def streamed_bytes(self) -> int:
        """Bytes read from disk for a token."""
        return round(
            sum(table.size * table.share for table in self.streamed if not table.looked_up)
        )

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of one token in the weights."""
        return round(
            sum(table.elements * table.share for table in self.tables if not table.looked_up)
        )

    def seconds_per_token(self, disk: float, compute: float) -> float:
        """Reading and computing overlap, so the slower one counts.

        Args:
            disk: bytes per second.
            compute: multiply-adds per second, of all threads.
        """
        return max(self.streamed_bytes / disk, self.multiply_adds / compute)


def smallest_limit(overhead: Overhead, small: Sequence[Table] = ()) -> int:
    """The least bytes with which a session can work, all large tables streamed."""
    return overhead.total + sum(table.held for table in small)


def plan_residency(
    tables: Sequence[Table], limit: int, overhead: Overhead, *, small: int = 1 << 19
) -> Plan:
    """Keeps as many tables as fit, and streams the rest, spread evenly between them.

    Args:
        tables: the weights in order of use.
        limit: bytes that the process may have in memory.
        overhead: what is needed beside the weights.
        small: tables of fewer bytes than this are always resident.

    Raises:
        InputError: the limit is too small even with every large table streamed.
    """
    kept = [table for table in tables if table.size < small]
    looked_up = [table for table in tables if table.looked_up and table.size >= small]
    large = [table for table in tables if table.size >= small and not table.looked_up]
    room = limit - (overhead.total - overhead.streaming) - sum(table.held for table in kept)
    total = sum(table.held for table in large)
    if room >= total + sum(table.held for table in looked_up):
        return Plan(limit, overhead, tuple(tables), tuple(tables))
    room -= overhead.streaming
    if room < 0:
        raise InputError(
            f"A memory limit of {megabytes(limit)} is too small for this model; "
            f"the smallest that works is {megabytes(smallest_limit(overhead, kept))}."
        )
    streamed = {table.name for table in [*_streamed(large, total - room), *looked_up]}
    resident = tuple(table for table in tables if table.name not in streamed)
    return Plan(limit, overhead, tuple(tables), resident)


def _streamed(tables: Sequence[Table], deficit: int) -> list[Table]:
    """Tables that take at least `deficit` bytes of memory together, and no more than needed.

    The disk has to be busy while resident tables are computed: what it reads then is in
    memory twice for a while, and small tables that come often need the least of that. So
    all tables of the smallest kinds, and of the next kind some.
    """
    kinds: dict[str, list[Table]] = {}
    for table in tables:
        kinds.setdefault(table.kind, []).append(table)
    chosen: list[Table] = []
    taken = 0
    for group in sorted(kinds.values(), key=lambda group: max(table.size for table in group)):
        chosen += _spread(group, deficit - taken)
        taken = sum(table.held for table in chosen)
    for table in sorted(chosen, key=lambda table: -table.held):
        if taken - table.held >= deficit:
            chosen.remove(table)
            taken -= table.held
    return chosen


def _spread(tables: Sequence[Table], deficit: int) -> list[Table]:
    """Tables of at least `deficit` bytes together, spread evenly; all where they are fewer."""
    total = sum(table.held for table in tables)
    if deficit >= total:
        return list(tables)
    chosen: list[Table] = []
    passed = taken = 0
    for table in tables:
        passed += table.held
        if taken + table.held / 2 <= deficit * passed / total:
            chosen.append(table)
            taken += table.held
    names = {table.name for table in chosen}
    rest = sorted((t for t in tables if t.name not in names), key=lambda table: table.held)
    while taken < deficit:
        missing = deficit - taken
        table = next((t for t in rest if t.held >= missing), rest[-1])
        rest.remove(table)
        chosen.append(table)
        taken += table.held
    return chosen
