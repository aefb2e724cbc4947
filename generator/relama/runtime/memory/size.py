"""Sizes of memory, as people write and read them."""

from __future__ import annotations

import re

from relama.errors import InputError
from relama.project.manifest import Project
from relama.project.variables import variables

_UNITS: dict[str, int] = {
    "B": 1,
    **{f"{letter}B": 10 ** (3 * power) for power, letter in enumerate("KMGT", 1)},
    **{f"{letter}IB": 2 ** (10 * power) for power, letter in enumerate("KMGT", 1)},
}


def parse_size(text: str) -> int:
    """Bytes of a size as DuckDB writes it: `1500MB`, `1.5GB`, `800MiB`.

    Units of thousands are B, KB, MB, GB and TB; units of 1,024 are KiB to TiB.

    Raises:
        InputError: it is not a size, or not positive.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", text)
    unit = _UNITS.get(match[2].upper()) if match else None
    if match is None or unit is None:
        raise InputError(f"'{text}' is not a size; write it like 1500MB, 1.5GB or 800MiB.")
    size = round(float(match[1]) * unit)
    if size < 1:
        raise InputError(f"A memory limit must be positive, not '{text}'.")
    return size


def memory_limit(project: Project, given: str | None) -> int | None:
    """The memory limit in bytes: the given one, or the project's variable, or none.

    Raises:
        ProjectError, InputError: see `variables` and `parse_size`, or the database has none.
    """
    text = variables(project).get("relama_memory_limit") if given is None else given
    if not text and given is None:
        return None
    project.target.check_memory_limit()
    return parse_size(str(text))


def megabytes(size: float) -> str:
    """Bytes for a person to read, rounded up: `1,500 MB`."""
    return f"{-(-round(size) // 1_000_000):,} MB"
