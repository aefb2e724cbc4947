"""The machine that was measured: what it is, and what it can do at best."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from benchmarks.cgroups import forget

PACKAGES = (
    "relama",
    "duckdb",
    "dbt-core",
    "dbt-duckdb",
    "dbt-clickhouse",
    "chdb",
    "dbt-postgres",
    "psycopg",
    "llama-cpp-python",
    "torch",
    "transformers",
    "numpy",
)


def describe(file: Path) -> dict[str, Any]:
    """Processor, memory, disk, versions and date, as every result records them.

    Args:
        file: a large file on the disk that the benchmark uses; its speed is read from there.
    """
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "disk_bytes_per_s": disk_bandwidth(file),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in PACKAGES},
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def disk_bandwidth(file: Path, size: int = 1 << 29) -> float:
    """Bytes a second of reading the beginning of `file` in order, nothing of it in memory."""
    if hasattr(os, "posix_fadvise"):
        forget(file)
    began, read = time.perf_counter(), 0
    with file.open("rb", buffering=0) as opened:
        while read < size and (block := opened.read(1 << 23)):
            read += len(block)
    return read / (time.perf_counter() - began)


def memory_bandwidth(threads: int, size: int = 1 << 29) -> float:
    """Bytes a second of reading `size` bytes of memory with `threads` threads at once."""
    parts = [np.ones(size // 8 // threads) for _ in range(threads)]
    with ThreadPoolExecutor(threads) as pool:
        return size / _median(lambda: list(pool.map(np.sum, parts)))


def multiply_adds_per_second(threads: int, rows: int = 4096, width: int = 512) -> float:
    """The rate of DuckDB's `list_inner_product` on float32 vectors that stay in the cache.

    It is the ceiling of a layout that computes an inner product a row.
    """
    vectors = 64
    with duckdb.connect(config={"threads": threads}) as connection:
        # A row group is what one thread takes.
        connection.execute("attach ':memory:' as cached (row_group_size 2048)")
        connection.execute("use cached")
        connection.execute(
            "create table weight as "
            "select row_id, list_transform(range(?), lambda i: (i % 7)::float) as vector "
            "from range(?) as t (row_id)",
            [width, rows],
        )
        connection.execute(f"create table x as select vector from weight where row_id < {vectors}")
        query = "select sum(list_inner_product(weight.vector, x.vector)) from weight cross join x"
        seconds = _median(lambda: connection.execute(query).fetchall())
    return vectors * rows * width / seconds


def _median(run: Callable[[], object], times: int = 5) -> float:
    """The median seconds of `run`, after one that is not counted."""
    run()
    seconds = []
    for _ in range(times):
        began = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)
