"""What `relama plan` says: where the weights would be, and what a token would take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from relama.errors import InputError
from relama.project.manifest import Project
from relama.runtime.database import kernels_of, open_database
from relama.runtime.memory.limit import plan_session
from relama.runtime.memory.process_memory import available, resident_set
from relama.runtime.memory.residency import Plan, Table
from relama.runtime.memory.size import megabytes
from relama.runtime.memory.speed import compute_speed, disk_speed
from relama.runtime.profile import database_of
from relama.runtime.statements import compiled, decode_statements
from relama.runtime.tokenizer import ProjectTokenizer


@dataclass(frozen=True)
class Forecast:
    """A plan and what it would cost.

    Attributes:
        plan: what is resident and what is streamed.
        disk: bytes per second from the disk.
        compute: multiply-adds per second.
        native: whether native functions multiply, not SQL.
        disk_is_given: whether `disk` is not measured.
    """

    plan: Plan
    disk: float
    compute: float
    native: bool
    disk_is_given: bool = False

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
            "kernels": "native" if self.native else "sql",
            "seconds_per_token": round(self.seconds_per_token, 3),
            "resident": [table.name for table in plan.resident],
            "streamed": [table.name for table in plan.streamed],
        }

    def rows(self) -> list[tuple[str, ...]]:
        """A row of text for each kind of weight, in order of use.

        Its name, which of it is in memory and how large that is, and likewise what is
        streamed. The kind of `layer_07__gate_up_proj_weight` is `gate_up_proj`.
        """
        kinds: dict[str, tuple[list[Table], list[Table]]] = {}
        names = {table.name for table in self.plan.resident}
        for table in self.plan.tables:
            resident, streamed = kinds.setdefault(table.kind, ([], []))
            (resident if table.name in names else streamed).append(table)
        return [
            (kind, *(cell for some in both for cell in _cells(some)))
            for kind, both in kinds.items()
        ]

    def sentences(self) -> list[str]:
        """What the limit is used for, and what a token takes."""
        plan, overhead = self.plan, self.plan.overhead
        uses = [
            f"{megabytes(plan.resident_bytes)} of weights",
            f"{megabytes(overhead.process)} process",
            f"{megabytes(overhead.statement)} state and statement",
            f"{megabytes(overhead.working)} working vectors",
        ]
        if plan.streamed:
            uses.append(f"{megabytes(overhead.streaming)} for streaming")
        return [
            f"Limit {megabytes(plan.limit)}: {', '.join(uses)}.",
            f"A token: {megabytes(plan.streamed_bytes)} from disk at {self.disk / 1e6:,.0f} MB/s "
            f"({'as given' if self.disk_is_given else 'measured'}), "
            f"{plan.multiply_adds / 1e6:,.0f} million multiply-adds at "
            f"{self.compute / 1e9:.2f} billion per second "
            f"({'native kernels' if self.native else 'SQL'}, measured): at least "
            f"{self.seconds_per_token:.2f} s.",
        ]


def _cells(tables: list[Table]) -> tuple[str, str]:
    """Which layers tables are of, and their size; nothing where there are none."""
    if not tables:
        return "", ""
    layers = layer_numbers(tables)
    return f"layers {layers}" if layers else "all", megabytes(sum(table.size for table in tables))


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
        InputError: the limit is too small, or the disk's speed not positive.
    """
    if disk is not None and disk <= 0:
        raise InputError(f"disk-speed must be positive, not {disk / 1e6:g}.")
    ProjectTokenizer(project.directory)  # A session holds it in memory, and the plan counts that.
    statement = compiled(project, decode_statements(project), decode=True)["step"]
    if limit is None:
        limit = (available() or 1 << 40) + (resident_set() or 0)
    with open_database(project) as connection:
        plan, _ = plan_session(project, connection, statement, limit)
        native = kernels_of(project) is not None
        compute = compute_speed(connection, native)
    measured = disk or disk_speed(database_of(project).path)
    return Forecast(plan, measured, compute, native, disk is not None)
