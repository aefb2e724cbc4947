"""`dbt build`, layer by layer, unless everything is up to date."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, Protocol

from relama import names
from relama.errors import ProjectError
from relama.project.manifest import Project
from relama.runtime import dbt
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
        again: build even what has not changed since the last build, weights included.
        on_progress: told the number of nodes, each node that ends, and its layer.

    Returns:
        `nodes`, `seconds`, `rows` and `bytes` stored, and `already_built`.

    Raises:
        ProjectError: dbt failed, or the database is in use.
    """
    began = time.perf_counter()
    target, stamp = project.target, project.directory / _STAMP
    current = {
        "fingerprint": fingerprint(project),
        "database": target.address(project),
        "weights": [
            [file.name, file.stat().st_size, file.stat().st_mtime_ns]
            for file in staged_files(project)
        ],
    }
    if target.is_there(project):
        with target.connect(project) as connection:  # Says clearly who holds it, as dbt would not.
            is_built = "step" in target.relations(connection)
            target.check_loaded(project, connection, [f.stem for f in staged_files(project)])
        if not again and is_built and _read(stamp) == current:
            return {"already_built": True, "nodes": 0, "seconds": 0.0, **stored(project)}
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

    if again:
        # Not of all models: the state would begin anew.
        weights = ["run", "--full-refresh", "--select", "tag:weights"]
        dbt.invoke(project.directory, weights, on_event)
    dbt.invoke(project.directory, ["build"], on_event)
    compiled(project, session_statements(project))
    compiled(project, decode_statements(project), decode=True)
    stamp.write_text(json.dumps(current))
    seconds = time.perf_counter() - began
    return {"already_built": False, "nodes": nodes, "seconds": seconds, **stored(project)}


def stored(project: Project) -> dict[str, int]:
    """Rows in all tables, and bytes that they take."""
    with project.target.connect(project) as connection:
        return project.target.stored(project, connection)


def _label(node: str) -> str:
    layer = names.layer_within(node)
    return "Building" if layer is None else f"Building layer {layer}"


def staged_files(project: Project) -> list[Path]:
    """The Parquet files that `relama new` wrote. Raises `ProjectError` where there are none."""
    files = sorted((project.directory / "weights").glob("*.parquet"))
    if not files:
        raise ProjectError(f"{project.directory / 'weights'} holds no staged weights.")
    return files


def _read(path: Any) -> Any:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None
