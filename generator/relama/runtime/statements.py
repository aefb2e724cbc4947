"""The SQL that dbt compiles from a project, compiled once and kept.

dbt compiles a model together with the ephemeral models below it: one statement
for the whole forward pass. Compiling takes seconds, so the text is kept in
`target/relama/`, under a fingerprint of everything it was compiled from.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from relama import __version__
from relama.errors import ProjectError
from relama.project.manifest import Project
from relama.project.variables import variables
from relama.runtime import dbt
from relama.runtime.database import open_database
from relama.runtime.profile import database_of

_FILES = ("dbt_project.yml", "profiles.yml")
_FOLDERS = ("models", "analyses", "macros", "packages", "relama", "seeds")


def session_statements(project: Project) -> list[str]:
    """The models that a session runs: the step, and what appends its output."""
    return ["step", *project.kv_caches, "tokens"]


def decode_statements(project: Project) -> list[str]:
    """What a session runs beside: the step for one token, and what packs full pages."""
    return ["step", *project.kv_pages]


def compiled(project: Project, names: Sequence[str], *, decode: bool = False) -> dict[str, str]:
    """The compiled SQL of the models and analyses `names`; asks dbt where it is not kept yet.

    Args:
        decode: the variant for steps that read one token of one sequence.

    Raises:
        ProjectError: dbt cannot compile the project.
    """
    kept = _directory(project, decode)
    missing = [name for name in names if not (kept / f"{name}.sql").is_file()]
    if missing:
        with open_database(project):
            pass  # Says clearly that nothing is built, or who holds the file.
        arguments = ["compile", "--select", *missing]
        # A session runs a step as one statement, whatever dbt itself does.
        variables = {"relama_trace": False} if _is_traced(project) else {}
        if decode:
            variables["relama_decode"] = True
        if variables:
            arguments += ["--vars", json.dumps(variables)]
        dbt.invoke(project.directory, arguments)
        keep_compiled(project, missing, decode=decode)
    return {name: (kept / f"{name}.sql").read_text() for name in names}


def keep_compiled(project: Project, names: Sequence[str], *, decode: bool = False) -> None:
    """Copies what dbt has just compiled to where `compiled` looks for it."""
    kept = _directory(project, decode)
    current = _directory(project)
    if not current.is_dir():
        shutil.rmtree(current.parent, ignore_errors=True)
    kept.mkdir(parents=True, exist_ok=True)
    target = project.directory / "target" / "compiled" / project.name
    for name in names:
        found = [*target.glob(f"models/**/{name}.sql"), *target.glob(f"analyses/**/{name}.sql")]
        if len(found) != 1:
            raise ProjectError(f"dbt has not compiled '{name}' in {project.directory}.")
        temporary = kept / f"{name}.partial"
        shutil.copy(found[0], temporary)
        temporary.rename(kept / f"{name}.sql")


def compiled_by_build(project: Project) -> bool:
    """Whether what `dbt build` leaves compiled is what a session runs."""
    return not _is_traced(project)


def fingerprint(project: Project) -> str:
    """A digest of every file that the compiled SQL depends on."""
    digest = hashlib.sha256(__version__.encode())
    # An environment variable may choose the target of the profile.
    digest.update(repr(database_of(project)).encode())
    for name in (*_FILES, *_FOLDERS):
        path = project.directory / name
        files = sorted(path.rglob("*")) if path.is_dir() else [path]
        for file in files:
            if file.is_file():
                digest.update(str(file.relative_to(project.directory)).encode())
                digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def _directory(project: Project, decode: bool = False) -> Path:
    kept = project.directory / "target" / "relama" / fingerprint(project)
    return kept / "decode" if decode else kept


def _is_traced(project: Project) -> bool:
    """The variable `relama_trace` of `dbt_project.yml`, which the user may have changed."""
    return bool(variables(project).get("relama_trace", False))
