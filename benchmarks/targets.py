"""The suite `targets`: SmolLM2-135M on every database that relama writes for.

PostgreSQL is a server on this machine, and ClickHouse is in this process, by the wheel `chdb`.
"""

from __future__ import annotations

import os
import shutil
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from benchmarks import models
from benchmarks.inmemory import QUESTION
from benchmarks.machine import describe
from benchmarks.places import BUILD, BenchmarkError, smollm2
from relama.checkpoint import open_checkpoint
from relama.project.manifest import Project, load_project
from relama.project.writer import write_project
from relama.runtime.build import build_project
from relama.runtime.load import load_weights
from relama.runtime.session import Session, State, open_engine
from relama.runtime.tokenizer import ProjectTokenizer
from relama.targets import TARGETS

Say = Callable[[str], None]

GREEDY = (0.0, 0, 1.0, 0)
#: Positions that are cached when decoding is timed.
CACHED = 64


@dataclass(frozen=True)
class System:
    """A database and how it stores weights.

    Attributes:
        cached_by: the system whose keys and values it is given, where reading a prompt takes
            longer than anyone waits; it decodes as few tokens as `steps` says.
    """

    name: str
    target: str
    storage: str
    engine: str = ""
    cached_by: str | None = None
    steps: int = 5


SYSTEMS = (
    System("DuckDB, native kernels", "duckdb", "float32", "native"),
    System("DuckDB, SQL", "duckdb", "float32", "sql"),
    System("ClickHouse", "clickhouse", "float32"),
    System("ClickHouse, int8", "clickhouse", "int8"),
    System("PostgreSQL, pgvector", "postgres", "vector", "pgvector"),
    System("PostgreSQL, halfvec", "postgres", "halfvec", "pgvector"),
    System(
        "PostgreSQL alone",
        "postgres",
        "float32",
        "debian",
        cached_by="PostgreSQL, pgvector",
        steps=1,
    ),
)


def run(*, repeat: int, only: Sequence[str], say: Say) -> dict[str, Any]:
    """Loads and builds the model everywhere, and then decodes in turns; the result as JSON."""
    systems = [s for s in SYSTEMS if not only or any(text in s.name for text in only)]
    results: list[dict[str, Any]] = []
    projects: dict[str, Project] = {}
    with ExitStack() as stack:
        for system in systems:
            project, result = _project(system, stack, say)
            projects[system.name] = project
            results.append({"name": system.name, "storage": system.storage, **result})
        for _ in range(repeat):
            for system, result in zip(systems, results, strict=True):
                source = projects.get(system.cached_by or "")
                _measure(system, projects[system.name], source, result, say)
        for result in results:
            for name in ("open_s", "prefill_s", "decode_s"):
                if name in result:
                    result[name] = round(statistics.median(result[name]), 4)
    return {
        "suite": "targets",
        "settings": {"threads": 2, "repeat": repeat},
        "machine": describe(smollm2()),
        "systems": results,
    }


def _measure(
    system: System, project: Project, source: Project | None, result: dict[str, Any], say: Say
) -> None:
    """Adds the seconds of one session."""
    tokenizer = ProjectTokenizer(project.directory)
    question = tokenizer.encode(QUESTION)
    prompt = (question * 2)[:CACHED]
    if system.cached_by:
        if source is None:
            raise BenchmarkError(f"'{system.name}' needs '{system.cached_by}' beside it.")
        _copy_state(source, project, prompt)
    if project.target.name == "clickhouse":
        _direct_to(system)
    began = time.perf_counter()
    with open_engine(project, "session", sequence_id=0) as engine:
        assert isinstance(engine, Session)
        if project.target.name == "duckdb":
            engine.connection.execute("set threads = 2")
        result.setdefault("open_s", []).append(time.perf_counter() - began)
        if not system.cached_by:
            _forget(engine)
            engine.start(question, GREEDY)
            began = time.perf_counter()
            engine.step()
            result.setdefault("prefill_s", []).append(time.perf_counter() - began)
        engine.start([*prompt, 0], GREEDY)
        if not system.cached_by:
            engine.step()
        seconds = []
        for _ in range(system.steps):
            began = time.perf_counter()
            engine.step()
            seconds.append(time.perf_counter() - began)
        result.setdefault("decode_s", []).append(statistics.median(seconds))
    say(f"{system.name}: {result['decode_s'][-1]:.3f} s per token")


def _direct_to(system: System) -> None:
    """One ClickHouse can be open in a process at a time."""
    from tests.chdb_site import chdb_redirect

    os.environ[chdb_redirect.VARIABLE] = str(_directory(system))


def _directory(system: System) -> Path:
    """That of ClickHouse."""
    return BUILD / f"targets-clickhouse-{system.storage}.chdb"


def _forget(engine: Session) -> None:
    with engine.state.transaction():
        engine.state.clear()


def _copy_state(source: Project, project: Project, prompt: list[int]) -> None:
    """Gives a project the keys and values that another has of a prompt."""
    with open_engine(source, "session", sequence_id=0) as engine:
        engine.start([*prompt, 0], GREEDY)
        engine.step()
    with source.target.connect(source) as connection:
        rows = connection.execute(
            "select layer, sequence_id, position, kv_head, cast(key as real[]), "
            f"cast(value as real[]) from kv_cache where position < {len(prompt)}"
        ).fetchall()
    with project.target.connect(project) as connection:
        state = State(project, connection, 0)
        state.clear()
        with connection.cursor() as cursor:
            cursor.executemany("insert into kv_cache values (%s, %s, %s, %s, %s, %s)", rows)
        state.append_tokens([*prompt, 0], first_position=0, has_read=len(prompt))
        connection.execute("analyze")


def _project(system: System, stack: ExitStack, say: Say) -> tuple[Project, dict[str, Any]]:
    """The model, built, and how long loading and building took."""
    if system.target == "duckdb":
        directory = models.relama_project(smollm2(), system.storage, system.engine, say)
        record = models.build_record(directory)
        return load_project(directory), {"build_s": record["build_s"], "bytes": record["bytes"]}
    output = stack.enter_context(_database(system))
    directory = BUILD / f"targets-{system.engine}-{system.storage}"
    say(f"relama new {directory.name}")
    project = write_project(
        directory,
        open_checkpoint(smollm2()),
        name="smollm2",
        storage=system.storage,
        target=TARGETS[system.target],
        overwrite=True,
    )
    profiles = {"smollm2": {"target": "dev", "outputs": {"dev": output}}}
    (directory / "profiles.yml").write_text(yaml.safe_dump(profiles))
    say(f"relama load {directory.name}")
    loaded = load_weights(project, _quiet)
    say(f"relama build {directory.name}")
    built = build_project(project, again=True, on_progress=_quiet)
    return project, {
        "load_s": round(loaded["seconds"], 2),
        "build_s": round(built["seconds"], 2),
        "bytes": built["bytes"],
    }


@contextmanager
def _database(system: System) -> Iterator[dict[str, Any]]:
    """A server, or ClickHouse in this process; yields the output of a profile."""
    from tests import engines
    from tests.chdb_site import chdb_redirect

    if system.target == "clickhouse":
        directory = _directory(system)
        shutil.rmtree(directory, ignore_errors=True)
        os.environ[chdb_redirect.VARIABLE] = str(directory)
        os.environ["PYTHONPATH"] = os.pathsep.join(
            [str(engines.CHDB_SITE), os.environ.get("PYTHONPATH", "")]
        )
        settings = {"join_use_nulls": 1, "prefer_column_name_to_alias": 1, "max_threads": 2}
        yield engines.clickhouse_profile("smollm2") | {"custom_settings": settings}
    if system.target == "postgres":
        binaries = {"pgvector": engines.PGVECTOR, "debian": engines.DEBIAN}[system.engine]
        with engines.temporary_postgres(binaries) as server:
            database = server.database("smollm2")
            if system.storage != "float32":
                with server.connect(database) as connection:
                    connection.execute("create extension vector")
            yield engines.postgres_profile(server, database, "smollm2")


def _quiet(advance: float = 0, total: float | None = None, label: str | None = None) -> None:
    """A progress that nobody sees."""
