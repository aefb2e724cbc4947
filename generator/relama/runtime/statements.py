"""The SQL that dbt compiles from a project, compiled once and kept.

Each model of a step has a text of its own, in which the models below it stand by name. What
reads what is known from `relama.json`, so a statement is put together from texts, and taken
apart again, without a look into them. Compiling takes seconds, so the texts are kept in
`target/relama/`, under a fingerprint of everything they were compiled from.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from relama import __version__
from relama.errors import ProjectError
from relama.names import CTE_PREFIX
from relama.project.manifest import Project
from relama.project.variables import variables
from relama.runtime import dbt
from relama.runtime.database import kernels_of

_FILES = ("dbt_project.yml", "profiles.yml", "relama.json")
_FOLDERS = ("models", "analyses", "macros", "packages", "relama", "seeds")


@dataclass(frozen=True)
class Model:
    """The compiled text of a model, without the models that it reads.

    Attributes:
        sql: a select, in which each of `inputs` stands by its CTE's name.
        inputs: the models that it reads that are no tables.
        tables: the tables that it reads: how the text writes them, by name.
    """

    sql: str
    inputs: tuple[str, ...]
    tables: Mapping[str, str]

    def reading(self, places: Mapping[str, str]) -> Model:
        """The same, with the tables named in `places` read there."""
        moved = {name: places[name] for name in self.tables if name in places}
        sql = self.sql
        for name, place in moved.items():
            sql = sql.replace(self.tables[name], place)
        return replace(self, sql=sql, tables={**self.tables, **moved})


@dataclass(frozen=True)
class Statement:
    """A select, and the models that it is made of.

    Attributes:
        models: those below it, by name, each after all that it reads.
        last: the select itself.
    """

    models: Mapping[str, Model]
    last: Model

    @property
    def sql(self) -> str:
        """The select as one text, each model a CTE."""
        return self.select(self.last, self.models)

    def select(self, model: Model, ctes: Collection[str]) -> str:
        """The text of a model, with those of `ctes` that it needs put before it."""
        needed = self.below(model, ctes)
        texts = [
            f"{CTE_PREFIX}{name} as (\n{m.sql}\n)"
            for name, m in self.models.items()
            if name in needed
        ]
        if not texts:
            return model.sql
        return f"with {', '.join(texts)}\nselect * from (\n{model.sql}\n) as last"

    def below(self, model: Model, within: Collection[str]) -> set[str]:
        """The models that a model reads, and those that these read, as far as `within` goes."""
        found: set[str] = set()
        waiting = list(model.inputs)
        while waiting:
            name = waiting.pop()
            if name in within and name not in found:
                found.add(name)
                waiting.extend(self.models[name].inputs)
        return found

    def reading(self, places: Mapping[str, str]) -> Statement:
        """The same, with the tables named in `places` read there."""
        models = {name: model.reading(places) for name, model in self.models.items()}
        return Statement(models, self.last.reading(places))

    def tables(self) -> Iterator[str]:
        """The tables that it reads, in order of use; one that is read twice comes twice."""
        for model in (*self.models.values(), self.last):
            yield from model.tables


def session_statements(project: Project) -> list[str]:
    """The models that a session runs: the step, and what appends its output."""
    return ["step", *project.kv_caches, "tokens"]


def decode_statements(project: Project) -> list[str]:
    """What a session runs beside: the step for one token, and what packs full pages."""
    return ["step", *packing_statements(project)]


def packing_statements(project: Project) -> list[str]:
    """What packs full pages; nothing where native attention reads the cache as it is."""
    return [] if kernels_of(project) else project.kv_pages


def compiled(
    project: Project, names: Sequence[str], *, decode: bool = False
) -> dict[str, Statement]:
    """The models and analyses `names`; asks dbt for what is not kept yet.

    Args:
        decode: the variant for steps that read one token of one sequence.

    Raises:
        ProjectError: dbt cannot compile the project.
    """
    file = _file(project, decode)
    kept = _kept(file)
    if not set(names) <= set(kept):
        with project.target.connect(project):
            pass  # Says clearly that nothing is built, or why the database cannot be had.
        with _alone(file.parent):
            kept = _kept(file)
            if not set(names) <= set(kept):
                kept |= _compile(project, names, decode)
                _keep(file, kept)
    return {name: _statement(kept, name, project) for name in names}


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """Waits until no other process compiles the project: dbt's own files are in one place."""
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def fingerprint(project: Project) -> str:
    """A digest of everything that the compiled SQL depends on; where the project lies is not."""
    digest = hashlib.sha256(__version__.encode())
    # An environment variable may choose the target of the profile.
    digest.update(project.target.place(project).encode())
    for name in (*_FILES, *_FOLDERS):
        path = project.directory / name
        files = sorted(path.rglob("*")) if path.is_dir() else [path]
        for file in files:
            if file.is_file():
                digest.update(str(file.relative_to(project.directory)).encode())
                digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def _statement(kept: Mapping[str, Model], name: str, project: Project) -> Statement:
    models: dict[str, Model] = {}

    def add(model: Model) -> None:
        for source in model.inputs:
            if source not in models:
                if source not in kept:
                    raise ProjectError(f"dbt has not compiled '{source}' in {project.directory}.")
                add(kept[source])
                models[source] = kept[source]

    add(kept[name])
    return Statement(models, kept[name])


def _compile(project: Project, names: Sequence[str], decode: bool) -> dict[str, Model]:
    """What dbt compiles of the models `names`, and of all models of a step."""
    # A session runs a step as one statement, whatever dbt itself does.
    given: dict[str, Any] = {"relama_trace": False} if _is_traced(project) else {}
    arguments = ["compile", "--no-inject-ephemeral-ctes", "--select", *names, "tag:step"]
    target = project.directory / "target"
    if decode:
        given["relama_decode"] = True
    if given:
        # dbt parses a project anew where variables are others than it has seen.
        target = target / "relama" / ("decode" if decode else "untraced")
        arguments += ["--vars", json.dumps(given), "--target-path", str(target.resolve())]
    dbt.invoke(project.directory, arguments)
    nodes = json.loads((target / "manifest.json").read_text(encoding="utf-8"))
    relations = {**nodes["sources"], **nodes["nodes"]}
    return {
        node["name"]: _model(project, node, relations)
        for node in nodes["nodes"].values()
        if node["package_name"] == project.name and node.get("compiled_code")
    }


def _model(project: Project, node: Mapping[str, Any], relations: Mapping[str, Any]) -> Model:
    read = [relations[name] for name in node["depends_on"]["nodes"] if name in relations]
    inputs = project.graph.inputs.get(node["name"])
    if inputs is None:  # A model of the user's.
        inputs = tuple(n["name"] for n in read if _is_ephemeral(n))
    tables = {n["name"]: n["relation_name"] for n in read if n.get("relation_name")}
    return Model(node["compiled_code"], inputs, tables)


def _is_ephemeral(node: Mapping[str, Any]) -> bool:
    return bool(node.get("config", {}).get("materialized") == "ephemeral")


def _kept(file: Path) -> dict[str, Model]:
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {n: Model(m["sql"], tuple(m["inputs"]), m["tables"]) for n, m in kept.items()}


def _keep(file: Path, models: Mapping[str, Model]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    for other in file.parent.glob(f"*{file.suffix}"):
        if other.stem.partition(".")[0] != file.stem.partition(".")[0]:
            other.unlink()
    temporary = file.with_suffix(".partial")
    fields = {n: {"sql": m.sql, "inputs": m.inputs, "tables": m.tables} for n, m in models.items()}
    temporary.write_text(json.dumps(fields), encoding="utf-8")
    temporary.rename(file)


def _file(project: Project, decode: bool) -> Path:
    variant = "decode" if decode else "general"
    directory = project.directory / "target" / "relama"
    return directory / f"{fingerprint(project)}.{variant}.json"


def _is_traced(project: Project) -> bool:
    """The variable `relama_trace` of `dbt_project.yml`, which the user may have changed."""
    return bool(variables(project).get("relama_trace", False))
