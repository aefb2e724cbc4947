"""Which database a project's `profiles.yml` names: the commands work on the one dbt does."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jinja2
import yaml

from relama.errors import ProjectError
from relama.project.manifest import Project
from relama.targets import TARGETS


@dataclass(frozen=True)
class Database:
    """Where the models of a project are.

    Attributes:
        path: the DuckDB file.
        catalog: the name under which dbt attaches it.
        schema: of the models.
        loads_unsigned: whether DuckDB may load extensions that bear no signature.
    """

    path: Path
    catalog: str
    schema: str
    loads_unsigned: bool

    @property
    def quoted_catalog(self) -> str:
        """The catalog, as it stands in SQL."""
        return _quoted(self.catalog)

    @property
    def quoted(self) -> str:
        """Catalog and schema, as they stand in SQL."""
        return f"{_quoted(self.catalog)}.{_quoted(self.schema)}"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def profiles_directory(directory: Path) -> Path:
    """Where dbt finds the profile of the project at `directory`: there, or where dbt looks."""
    if (directory / "profiles.yml").is_file():
        return directory.resolve()
    return Path(os.environ.get("DBT_PROFILES_DIR") or Path.home() / ".dbt").resolve()


def output_of(project: Project) -> dict[str, Any]:
    """What the project's profile says of its target, which the user may have changed.

    Raises:
        ProjectError: the profile cannot be read, or is of another database than the project.
    """
    file = profiles_directory(project.directory) / "profiles.yml"
    settings = _yaml(project.directory / "dbt_project.yml")
    name = os.environ.get("DBT_PROFILE") or _rendered(settings.get("profile"), file)
    try:
        profile = _yaml(file)[name]
        outputs = profile["outputs"]
        target = os.environ.get("DBT_TARGET") or _rendered(profile.get("target", "default"), file)
        output = {key: _rendered(value, file) for key, value in outputs[target].items()}
        kind = output["type"]
    except (KeyError, TypeError, AttributeError):
        raise ProjectError(
            f"{file} has no profile '{name}' with a target, which "
            f"{project.directory / 'dbt_project.yml'} asks for."
        ) from None
    if kind != project.target.name:
        raise ProjectError(
            f"The profile '{name}' in {file} is of type '{kind}', and the project was written for "
            f"{project.target.name}; "
            + (
                f"write it anew with relama new --target {kind} --force."
                if kind in TARGETS
                else f"relama has the targets {', '.join(TARGETS)}."
            )
        )
    return output


def database_of(project: Project) -> Database:
    """The DuckDB database of the project's profile.

    Raises:
        ProjectError: the profile cannot be read, or names no DuckDB file.
    """
    output = output_of(project)
    path, catalog = _file(output)
    if path is None or ":" in path.partition("/")[0] or path == ":memory:":
        raise ProjectError(
            f"The profile of {project.directory} names no database file of DuckDB for "
            f"'{catalog}'; relama's commands need one, as 'path', or under 'attach'."
        )
    # dbt is run in the project's directory, and paths are relative to that.
    options = output.get("config_options") or {}
    return Database(
        project.directory / path,
        catalog,
        str(output.get("schema", "main")),
        str(options.get("allow_unsigned_extensions")).lower() == "true",
    )


def _file(output: Mapping[str, Any]) -> tuple[str | None, str]:
    """The path of the database that models go to, and its name, by dbt-duckdb's rules."""
    own = str(output.get("path", ":memory:"))
    files = {_stem(own): own}
    for attached in output.get("attach") or ():
        files[str(attached.get("alias") or _stem(attached["path"]))] = str(attached["path"])
    catalog = str(output.get("database") or _stem(own))
    return files.get(catalog), catalog


def _stem(path: str) -> str:
    return "memory" if path == ":memory:" else Path(path).name.lstrip(".").partition(".")[0]


def _yaml(path: Path) -> dict[str, Any]:
    try:
        return dict(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, yaml.YAMLError, TypeError, ValueError):
        raise ProjectError(f"{path} cannot be read, or is no mapping in YAML.") from None


def _rendered(value: Any, file: Path) -> Any:
    """A value of a profile with its Jinja filled in: `env_var`, and the directory of the file."""
    if isinstance(value, dict):
        return {key: _rendered(item, file) for key, item in value.items()}
    if isinstance(value, list):
        return [_rendered(item, file) for item in value]
    if not isinstance(value, str) or "{" not in value:
        return value
    flags = SimpleNamespace(PROFILES_DIR=str(file.parent))
    # dbt's filters, which say what a text is to be read as.
    converted = ("as_bool", "as_number", "as_native")
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, autoescape=False)
    environment.filters |= dict.fromkeys((*converted, "as_text"), lambda text: text)
    try:
        text = environment.from_string(value).render(flags=flags, env_var=_environment_variable)
        return yaml.safe_load(text) if any(name in value for name in converted) else text
    except jinja2.TemplateError as error:
        raise ProjectError(f"{file}: '{value}' cannot be filled in: {error}.") from None


def _environment_variable(name: str, default: str | None = None) -> str:
    value = os.environ.get(name, default)
    if value is None:
        raise jinja2.UndefinedError(f"the environment variable {name} is not set")
    return value
