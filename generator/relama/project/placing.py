"""Where a model of a generated project is of use: in the project itself, or in one above it.

A project is run by itself, or is a package of the project that is run. dbt says which in
the configuration that stands beside models, as `project_name`; it does not in
`dbt_project.yml`, and what the profile is called says nothing.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from relama.project.manifest import LIBRARY

Properties = dict[str, Any]


def place(
    model: Properties, project: str, *, as_root: bool = True, as_package: bool = True
) -> Properties:
    """The YAML entry of a model, complete with where it is enabled and in which schema.

    As a package, the models are in a schema of their own and have no tests. Of this
    repository, which is the package `relama`, others use macros only.

    Args:
        model: the entry.
        project: dbt's name of the project that the model is in.
        as_root: whether the model is of use where its project is the one that is run.
        as_package: whether it is where its project is a package of another.
    """
    model = deepcopy(model)
    own = f"project_name == '{project}'"
    config = model.setdefault("config", {})
    if project == LIBRARY:
        config["enabled"] = f"{{{{ {own} }}}}" if as_root else False
    else:
        config["schema"] = f"{{{{ none if {own} else '{project}' }}}}"
        if not as_package:
            config["enabled"] = f"{{{{ {own} }}}}"
        elif not as_root:
            config["enabled"] = f"{{{{ project_name != '{project}' }}}}"
    for tested in (model, *model.get("columns", ())):
        if "data_tests" in tested:
            tested["data_tests"] = [_own_test(test, own) for test in tested["data_tests"]]
    return model


def as_a_part(model: Properties, whole: str, project: str) -> Properties:
    """The YAML entry of a table that, as a package, another model makes with others.

    Args:
        model: the entry.
        whole: the name of the model that makes them all.
        project: dbt's name of the project that the model is in.
    """
    config = {**model.get("config", {}), "meta": {"part_of": whole}}
    if project != LIBRARY:
        own = f"project_name == '{project}'"
        config["materialized"] = f"{{{{ 'relama_weight' if {own} else 'ephemeral' }}}}"
    return {**model, "config": config}


def _own_test(test: str | Properties, own: str) -> Properties:
    """A test that runs where its project is the one that is run."""
    ((name, settings),) = test.items() if isinstance(test, dict) else [(test, {})]
    config = dict(settings.get("config", {}))
    enabled = config.get("enabled")
    config["enabled"] = f"{{{{ {enabled} and {own} }}}}" if enabled else f"{{{{ {own} }}}}"
    return {name: {**settings, "config": config}}
