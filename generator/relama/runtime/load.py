"""Loads staged weights into a database that is a server."""

from __future__ import annotations

import time
from typing import Any

from relama.project.manifest import Project
from relama.runtime.build import Move, staged_files


def load_weights(project: Project, on_progress: Move) -> dict[str, Any]:
    """Loads what `relama new` staged into tables of the project's source `staged_weights`.

    Args:
        on_progress: told the number of bytes in all, and of those that are loaded.

    Returns:
        `loaded` and `kept`, numbers of tables, the `bytes` that were loaded, and `seconds`.

    Raises:
        InputError, ProjectError: see `Target.load`.
    """
    began = time.perf_counter()
    counts = project.target.load(project, staged_files(project), on_progress)
    return {**counts, "seconds": time.perf_counter() - began}
