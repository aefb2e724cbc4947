"""Memory as the operating system counts it."""

from __future__ import annotations

import ctypes
import gc
import sys
from pathlib import Path

import _duckdb

_STATUS = Path("/proc/self/status")
_MEMORY = Path("/proc/meminfo")


def resident_set() -> int | None:
    """Bytes of this process that are in memory now; None where the system does not say."""
    return _field(_STATUS, "VmRSS")


def trimmed_resident_set() -> int | None:
    """The same after what Python has freed is given back to the system."""
    gc.collect()
    if sys.platform == "linux":
        # The C library keeps what is freed, and gives it back when told to.
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
    return resident_set()


def free_sooner() -> None:
    """Has DuckDB's allocator give back what is freed after a tenth of a second, not a second.

    Its name in DuckDB is not documented; where there is none, freed memory stays longer.
    """
    control = getattr(ctypes.CDLL(_duckdb.__file__), "duckdb_je_mallctl", None)
    if control is None:
        return

    def call(name: str, read: ctypes.c_uint | None, write: ctypes.c_ssize_t | None) -> None:
        size = None if read is None else ctypes.byref(ctypes.c_size_t(ctypes.sizeof(read)))
        given = ctypes.c_size_t(0 if write is None else ctypes.sizeof(write))
        reads, writes = (None if value is None else ctypes.byref(value) for value in (read, write))
        control(name.encode(), reads, size, writes, given)

    arenas = ctypes.c_uint(0)
    call("arenas.narenas", arenas, None)
    for kind, milliseconds in (("dirty", 100), ("muzzy", 0)):
        for arena in ("arenas", *(f"arena.{i}" for i in range(arenas.value))):
            call(f"{arena}.{kind}_decay_ms", None, ctypes.c_ssize_t(milliseconds))


def available() -> int | None:
    """Bytes of memory that the machine could give to a new process without swapping."""
    return _field(_MEMORY, "MemAvailable")


def _field(path: Path, name: str) -> int | None:
    """A field `name:  123 kB` in bytes."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return None
    values = [line.split()[1] for line in lines if line.startswith(f"{name}:")]
    return int(values[0]) * 1024 if values else None
