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
from pathlib import Path

#: A DuckDB file begins with three headers of this size; then come the blocks.
_HEADERS = 3 * 4096
#: The system reads no more than its read-ahead size for one request.
_REQUEST = 128 * 1024
_POLL_S = 0.002
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
                os.posix_fadvise(self._file, offset, _REQUEST, os.POSIX_FADV_WILLNEED)

    def drop(self, blocks: Sequence[int]) -> None:
        """Gives the system's copies of blocks back."""
        if not SUPPORTED:
            return
        for block in blocks:
            offset = _HEADERS + block * self.block_size
            os.posix_fadvise(self._file, offset, self.block_size, os.POSIX_FADV_DONTNEED)


class Prefetcher:
    """Keeps a window of blocks read ahead, in the order of use, token after token.

    How far DuckDB is, the system tells: it counts the bytes that the process reads.
    Reads ahead are not among them.
    """

    def __init__(self, file: BlockFile, blocks: Sequence[int], window: int, behind: int) -> None:
        """
        Args:
            file: where the blocks are; stays the caller's to close.
            blocks: the blocks that a token reads, in order.
            window: bytes to be read ahead of DuckDB.
            behind: bytes to be kept behind it: threads do not read in exact order.
        """
        self._file = file
        self._blocks = list(blocks)
        self._window = max(1, window // file.block_size)
        self._behind = behind // file.block_size
        self._changed = threading.Condition()
        self._round = 0
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
    def reading(self) -> Iterator[None]:
        """Surrounds the statement that reads every block once."""
        with self._changed:
            self._began_at = _bytes_read()
            self._changed.notify()
        try:
            yield
        finally:
            with self._changed:
                self._began_at = None
                self._round += 1
                self._changed.notify()

    def _used(self) -> int:
        """Blocks that DuckDB has used since the session began."""
        within = 0
        if self._began_at is not None:
            within = (_bytes_read() - self._began_at) // self._file.block_size
        return self._round * len(self._blocks) + min(within, len(self._blocks))

    def _run(self) -> None:
        asked = dropped = 0
        count = len(self._blocks)
        while True:
            with self._changed:
                if self._closed:
                    return
                used = self._used()
                if asked >= used + self._window:
                    # Nothing to do until DuckDB has read more, or begins another token.
                    self._changed.wait(_POLL_S if self._began_at is not None else None)
                    continue
            asked = max(asked, used)
            self._file.read_ahead([self._blocks[asked % count]])
            asked += 1
            while dropped < used - self._behind:
                self._file.drop([self._blocks[dropped % count]])
                dropped += 1


def _bytes_read() -> int:
    """Bytes that this process has read from files, cached or not."""
    with _COUNTS.open("rb") as file:
        return int(file.readline().split()[1])
