"""Reads streamed weights ahead of DuckDB, so that reading overlaps computing.

DuckDB reads a block when it needs it, and waits. A thread asks the operating system
for the blocks that come next, and gives back its copies of those that have been used:
DuckDB has made its own.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

#: A DuckDB file begins with three headers of this size; then come the blocks.
_HEADERS = 3 * 4096
#: The system reads no more than its read-ahead size for one request.
_REQUEST = 128 << 10
_POLL_S = 0.002
#: Blocks that are asked for before the next look at how far DuckDB is.
_AT_ONCE = 8
_COUNTS = Path("/proc/self/io")

#: Elsewhere than on Linux nothing is read ahead: DuckDB reads by itself.
SUPPORTED = hasattr(os, "posix_fadvise") and _COUNTS.is_file()


class BlockFile:
    """The blocks of a database file in the operating system's cache."""

    def __init__(self, path: Path, block_size: int) -> None:
        self.block_size = block_size
        self._file = os.open(path, os.O_RDONLY)

    def close(self) -> None:
        os.close(self._file)

    def read_ahead(self, blocks: Sequence[int]) -> None:
        """Asks for blocks and does not wait for them."""
        if not SUPPORTED:
            return
        for block in blocks:
            begin = _HEADERS + block * self.block_size
            for offset in range(begin, begin + self.block_size, _REQUEST):
                size = min(_REQUEST, begin + self.block_size - offset)
                os.posix_fadvise(self._file, offset, size, os.POSIX_FADV_WILLNEED)

    def drop(self, blocks: Sequence[int]) -> None:
        """Gives the system's copies of blocks back."""
        if not SUPPORTED:
            return
        for block in blocks:
            offset = _HEADERS + block * self.block_size
            os.posix_fadvise(self._file, offset, self.block_size, os.POSIX_FADV_DONTNEED)


def read_block_by_block(path: Path) -> None:
    """Keeps the system from reading a file ahead by itself, for whoever in this process has it.

    It would read beyond the table that DuckDB reads, into what is resident.
    """
    for opened in _descriptors(path):
        os.posix_fadvise(opened, 0, 0, os.POSIX_FADV_RANDOM)


def _descriptors(path: Path) -> list[int]:
    """The file descriptors by which this process, that is DuckDB, has a file open."""
    real = str(path.resolve())
    links = Path("/proc/self/fd").iterdir()
    return [int(link.name) for link in links if os.path.realpath(link) == real]


@dataclass(frozen=True)
class Blocks:
    """The blocks of a table, in the order in which they are read.

    Attributes:
        numbers: of the blocks.
        in_order: whether DuckDB reads them in this order, threads being a little apart;
            otherwise it may read any of them first.
    """

    numbers: tuple[int, ...]
    in_order: bool = True


class Prefetcher:
    """Keeps a window of blocks read ahead, in the order of use, token after token.

    How far DuckDB is within a statement, the system tells: it counts the bytes that the
    process reads. Reads ahead are not among them.
    """

    def __init__(self, file: BlockFile, tables: Sequence[Blocks], window: int, behind: int) -> None:
        """
        Args:
            file: where the blocks are; stays the caller's to close.
            tables: the blocks that a token reads, in order.
            window: bytes to be read ahead of DuckDB.
            behind: bytes to be kept behind it: threads do not read in exact order. Of a
                table in no order, all is kept until all has been read.
        """
        self._file = file
        self._blocks: list[int] = []
        # The first block to be kept while a block is the next to be read.
        self._keep_from: list[int] = []
        for table in tables:
            begin = len(self._blocks)
            self._blocks += table.numbers
            end = len(self._blocks)
            self._keep_from += range(begin, end) if table.in_order else [begin] * (end - begin)
        self._window = max(1, window // file.block_size)
        self._behind = behind // file.block_size
        self._changed = threading.Condition()
        # Uses are counted since the session began; a token is `len(blocks)` of them.
        self._begin = self._end = 0
        self._began_at: int | None = None
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="prefetch", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Ends the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    @contextmanager
    def reading(self, count: int) -> Iterator[None]:
        """Surrounds a statement that reads the next so many of the blocks."""
        with self._changed:
            self._end = self._begin + count
            self._began_at = _bytes_read()
            self._changed.notify()
        try:
            yield
        finally:
            with self._changed:
                self._begin = self._end
                self._began_at = None
                self._changed.notify()

    def rewind(self) -> None:
        """Says that the next statement begins a token, even if the last broke off."""
        with self._changed:
            tokens = -(-self._begin // len(self._blocks))
            self._begin = self._end = tokens * len(self._blocks)
            self._changed.notify()

    def _used(self) -> int:
        """Blocks that DuckDB has used since the session began."""
        if self._began_at is None:
            return self._begin
        within = (_bytes_read() - self._began_at) // self._file.block_size
        return min(self._begin + within, self._end)

    def _run(self) -> None:
        asked = dropped = 0
        while True:
            with self._changed:
                if self._closed:
                    return
                used = self._used()
                end = used + self._window
                if asked >= end:
                    # Nothing to do until DuckDB has read more.
                    reads = self._began_at is not None and self._begin < self._end
                    self._changed.wait(_POLL_S if reads else None)
                    continue
            begin, asked = max(asked, used), min(end, max(asked, used) + _AT_ONCE)
            self._file.read_ahead(self._range(begin, asked))
            done = max(dropped, self._done(used))
            self._file.drop(self._range(dropped, done))
            dropped = done

    def _done(self, used: int) -> int:
        """How many of the uses are over for good."""
        tokens, place = divmod(used, len(self._blocks))
        keep_from = tokens * len(self._blocks) + self._keep_from[place]
        return min(used - self._behind, keep_from)

    def _range(self, begin: int, end: int) -> list[int]:
        """The blocks of so many uses."""
        return [self._blocks[i % len(self._blocks)] for i in range(begin, end)]


def _bytes_read() -> int:
    """Bytes that this process has read from files, cached or not."""
    with _COUNTS.open("rb") as file:
        return int(file.readline().split()[1])
