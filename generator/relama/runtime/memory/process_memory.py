"""Memory as the operating system counts it."""

from __future__ import annotations

import ctypes
import gc
import sys
from pathlib import Path

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
