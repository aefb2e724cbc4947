"""`dbt build`, layer by layer, unless everything is up to date."""

from __future__ import annotations

import json
import time
from typing import Any, Protocol

from relama import names
from relama.errors import ProjectError
from relama.project.manifest import Project
from relama.runtime import dbt
from relama.runtime.database import open_database
from relama.runtime.profile import database_of
from relama.runtime.statements import (
    compiled,
    decode_statements,
    fingerprint,
    session_statements,
)

_STAMP = "target/relama_built.json"


class Move(Protocol):
    """Moves a progress bar."""

    def __call__(
        self, advance: float = 0, total: float | None = None, label: str | None = None
    ) -> None: ...


def build_project(project: Project, *, again: bool, on_progress: Move) -> dict[str, Any]:
    """Runs `dbt build` and keeps the compiled step for sessions.

    Args:
        again: build even what has not changed since the last build.
        on_progress: told the number of nodes, each node that ends, and its layer.

    Returns:
        `nodes`, `seconds`, `rows` and `bytes` stored, and `already_built`.

    Raises:
        ProjectError: dbt failed, or the database is in use.
    """
    began = time.perf_counter()
    stamp, path = project.directory / _STAMP, database_of(project).path
    current = {
        "fingerprint": fingerprint(project),
        "database": str(path),
        "weights": _staged_files(project),
    }
    if not again and _read(stamp) == current and path.is_file():
        return {"already_built": True, "nodes": 0, "seconds": 0.0, **stored(project)}
    if path.is_file():
        with open_database(project):
            pass  # Says clearly who holds the file, which dbt would not.
    stamp.unlink(missing_ok=True)
    nodes = 0

    def on_event(event: dbt.Event) -> None:
        nonlocal nodes
        data = event.get("data", {})
        info = data.get("node_info", {})
        if event["info"].get("name") == "LogStartLine":
            on_progress(total=data.get("total"), label=_label(info.get("node_name", "")))
        elif event["info"].get("name") in ("LogModelResult", "LogTestResult", "LogSeedResult"):
            nodes += 1
            on_progress(advance=1)

    dbt.invoke(project.directory, ["build"], on_event)
    compiled(project, session_statements(project))
    compiled(project, decode_statements(project), decode=True)
    stamp.write_text(json.dumps(current))
    seconds = time.perf_counter() - began
    return {"already_built": False, "nodes": nodes, "seconds": seconds, **stored(project)}


def stored(project: Project) -> dict[str, int]:
    """Rows in all tables, and bytes of the database file."""
    with open_database(project) as connection:
        ((rows,),) = connection.execute(
            "select coalesce(sum(estimated_size), 0) from duckdb_tables() "
            "where database_name = current_database()"
        ).fetchall()
    return {"rows": int(rows), "bytes": database_of(project).path.stat().st_size}


def _label(node: str) -> str:
    layer = names.layer_within(node)
    return "Building" if layer is None else f"Building layer {layer}"


def _staged_files(project: Project) -> list[list[Any]]:
    files = sorted((project.directory / "weights").glob("*.parquet"))
    if not files:
        raise ProjectError(f"{project.directory / 'weights'} holds no staged weights.")
    return [[file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in files]


def _read(path: Any) -> Any:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None
