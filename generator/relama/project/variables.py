"""The variables of a project's `dbt_project.yml`, which its user may change."""

from __future__ import annotations

from typing import Any

import yaml

from relama.errors import ProjectError
from relama.project.manifest import Project


def variables(project: Project) -> dict[str, Any]:
    """The section `vars`. Raises `ProjectError` where it cannot be read."""
    path = project.directory / "dbt_project.yml"
    try:
        return dict(yaml.safe_load(path.read_text())["vars"])
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError):
        raise ProjectError(f"{path} cannot be read, or has no 'vars'.") from None
