"""The databases that a project can be written for: one module each, and macros of its name.

Adding one is `docs/adding-a-target.md`.
"""

from __future__ import annotations

from relama.errors import InputError
from relama.targets.base import Connection, Target
from relama.targets.clickhouse import ClickHouse
from relama.targets.duckdb import DuckDB
from relama.targets.postgres import Postgres

__all__ = ["DEFAULT", "TARGETS", "Connection", "Target", "target_named"]

#: By name, which is that of dbt's adapter.
TARGETS: dict[str, Target] = {
    target.name: target for target in (DuckDB(), Postgres(), ClickHouse())
}

DEFAULT = TARGETS["duckdb"]


def target_named(name: str) -> Target:
    """Raises `InputError` where there is none of the name."""
    if name not in TARGETS:
        raise InputError(f"There is no target '{name}'; targets: {', '.join(TARGETS)}.")
    return TARGETS[name]
