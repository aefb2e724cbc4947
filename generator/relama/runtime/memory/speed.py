"""How fast this machine reads a file and multiplies, measured in about a second."""

from __future__ import annotations

import mmap
import os
import time
from pathlib import Path

import duckdb

_CHUNK = 4 << 20
_AT_MOST = 256 << 20
_SECONDS = 0.5


def disk_speed(path: Path) -> float:
    """Bytes per second at which a file is read from disk, not from the system's cache."""
    size = path.stat().st_size
    file = _opened_past_the_cache(path)
    try:
        # Reading past the cache wants a buffer at the start of a page.
        with mmap.mmap(-1, _CHUNK) as buffer:
            read, began = 0, time.perf_counter()
            while read < min(size - _CHUNK, _AT_MOST) and time.perf_counter() - began < _SECONDS:
                read += os.preadv(file, [buffer], read)
            return max(read, 1) / (time.perf_counter() - began)
    finally:
        os.close(file)


def _opened_past_the_cache(path: Path) -> int:
    """A file descriptor; where a file system knows no way past its cache, an ordinary one."""
    try:
        return os.open(path, os.O_RDONLY | getattr(os, "O_DIRECT", 0))
    except OSError:
        return os.open(path, os.O_RDONLY)


def compute_speed(connection: duckdb.DuckDBPyConnection, native: bool) -> float:
    """Multiply-adds per second of DuckDB's dot product or the native one, all threads together.

    One thread is measured, with 512 rows of 2,048 numbers. Threads are assumed not to
    hinder each other.
    """
    rows, columns = 512, 2048
    connection.execute(
        "create or replace temporary table speed as "
        f"select [[1::float for i in range({columns})] for j in range({rows})] as block"
    )
    ((threads,),) = connection.execute("select current_setting('threads')").fetchall()
    product = (
        "relama_matmul(block[1], block)"
        if native
        else "list_transform(block, lambda row: list_inner_product(row, block[1]))"
    )
    best = 0.0
    for _ in range(5):
        began = time.perf_counter()
        connection.execute(f"select {product} from speed").fetchall()
        best = max(best, rows * columns / (time.perf_counter() - began))
    connection.execute("drop table speed")
    return best * int(threads)
