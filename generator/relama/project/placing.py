"""Where models of this repository are enabled: in its own project, not in one above it.

The repository is a project and the package `relama`, of which others use macros only. dbt says
which in the configuration that stands beside models, as `project_name`.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from relama.project.manifest import LIBRARY

Properties = dict[str, Any]

_OWN = f"project_name == '{LIBRARY}'"


def place(model: Properties, project: str) -> Properties:
    """The YAML entry of a model, complete with where it and its tests are enabled.

    Args:
        model: the entry.
        project: dbt's name of the project that the model is in.
    """
    if project != LIBRARY:
        return model
    model = deepcopy(model)
    model.setdefault("config", {})["enabled"] = f"{{{{ {_OWN} }}}}"
    for tested in (model, *model.get("columns", ())):
        if "data_tests" in tested:
            tested["data_tests"] = [_own_test(test) for test in tested["data_tests"]]
    return model


def _own_test(test: str | Properties) -> Properties:
    """A test that runs where the repository is the project that is run."""
    ((name, settings),) = test.items() if isinstance(test, dict) else [(test, {})]
    config = dict(settings.get("config", {}))
    enabled = str(config.get("enabled", "")).strip("{ }")
    config["enabled"] = f"{{{{ {enabled} and {_OWN} }}}}" if enabled else f"{{{{ {_OWN} }}}}"
    return {name: {**settings, "config": config}}
