"""What `relama plan` says: where the weights would be, and what a token would take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from relama.project.manifest import Project
from relama.runtime.database import open_database
from relama.runtime.memory.limit import plan_session
from relama.runtime.memory.process_memory import available, resident_set
from relama.runtime.memory.residency import Plan, Table
from relama.runtime.memory.speed import compute_speed, disk_speed
from relama.runtime.profile import database_of
from relama.runtime.statements import compiled, decode_statements


@dataclass(frozen=True)
class Forecast:
    """A plan and what it would cost.

    Attributes:
        plan: what is resident and what is streamed.
        disk: bytes per second from the disk.
        compute: multiply-adds a second.
    """

    plan: Plan
    disk: float
    compute: float

    @property
    def seconds_per_token(self) -> float:
        return self.plan.seconds_per_token(self.disk, self.compute)

    def as_json(self) -> dict[str, Any]:
        """The object that `relama plan --json` prints; sizes are bytes."""
        plan, overhead = self.plan, self.plan.overhead
        return {
            "memory_limit": plan.limit,
            "resident_bytes": plan.resident_bytes,
            "streamed_bytes_per_token": plan.streamed_bytes,
            "overhead": {
                "process": overhead.process,
                "statement": overhead.statement,
                "working": overhead.working,
                "streaming": overhead.streaming if plan.streamed else 0,
            },
            "disk_bytes_per_s": round(self.disk),
            "multiply_adds_per_token": plan.multiply_adds,
            "multiply_adds_per_s": round(self.compute),
            "seconds_per_token": round(self.seconds_per_token, 3),
            "resident": [table.name for table in plan.resident],
            "streamed": [table.name for table in plan.streamed],
        }

    def groups(self) -> list[tuple[str, list[Table], list[Table]]]:
        """(kind, resident, streamed) of each kind of weight, in order of use.

        The kind of `layer_07__gate_up_proj_weight` is `gate_up_proj`.
        """
        kinds: dict[str, tuple[list[Table], list[Table]]] = {}
        names = {table.name for table in self.plan.resident}
        for table in self.plan.tables:
            resident, streamed = kinds.setdefault(table.kind, ([], []))
            (resident if table.name in names else streamed).append(table)
        return [(name, *tables) for name, tables in kinds.items()]


def layer_numbers(tables: list[Table]) -> str:
    """The layers of tables, as `0-3, 5`; empty for tables outside of layers."""
    ranges: list[list[int]] = []
    for layer in (table.layer for table in tables if table.layer is not None):
        if ranges and layer == ranges[-1][1] + 1:
            ranges[-1][1] = layer
        else:
            ranges.append([layer, layer])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in ranges)


def forecast(project: Project, limit: int | None, disk: float | None) -> Forecast:
    """Plans a session and measures this machine.

    Args:
        limit: bytes of memory; None is all that the machine has available.
        disk: bytes per second; None is to be measured.

    Raises:
        ProjectError: the project is not built.
        InputError: the limit is too small.
    """
    statement = compiled(project, decode_statements(project), decode=True)["step"]
    if limit is None:
        limit = (available() or 1 << 40) + (resident_set() or 0)
    with open_database(project) as connection:
        plan, _ = plan_session(project, connection, statement, limit)
        compute = compute_speed(connection)
    return Forecast(plan, disk or disk_speed(database_of(project).path), compute)
