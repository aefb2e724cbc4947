"""A user's project beside the fixture checkpoint's, which tests of rows copy."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from relama import kernels
from relama.checkpoint import open_checkpoint
from relama.project.manifest import load_project
from relama.project.writer import write_project
from tests.conftest import TINY_LLAMA
from tests.user_project import UserProject

#: Prompts of several lengths, some of which begin alike.
TICKETS = [
    "The app crashes.",
    "The app is slow when I open the second window of it.",
    "I was charged twice",
    "I love it!",
    "x",
    "Where is my invoice for the third quarter, please?",
    "The app",
]


@pytest.fixture(scope="module")
def language_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The fixture checkpoint's project, written and not built."""
    directory = tmp_path_factory.mktemp("package") / "tiny"
    write_project(directory, open_checkpoint(TINY_LLAMA), kernels=kernels.path())
    return directory


@pytest.fixture(scope="module")
def built(language_model: Path, tmp_path_factory: pytest.TempPathFactory) -> UserProject:
    """A user's project whose language model is built; to be copied, not changed."""
    directory = tmp_path_factory.mktemp("desk") / "desk"
    directory.mkdir()
    project = UserProject(directory, load_project(language_model))
    project.seed("tickets", "id,body", list(enumerate(TICKETS)))
    assert project.dbt("build"), project.output
    return project


@pytest.fixture
def desk(built: UserProject, tmp_path: Path) -> UserProject:
    """A copy of `built` of the test's own."""
    copy = object.__new__(UserProject)
    copy.directory, copy.output = tmp_path / "desk", ""
    shutil.copytree(built.directory, copy.directory, symlinks=True)
    return copy


def build_natively(desk: UserProject) -> None:
    """Lets DuckDB load the native kernels, and makes `forward_pass` anew."""
    desk.allow_kernels()
    assert desk.dbt("build", "--select", "forward_pass"), desk.output


@pytest.fixture(params=["sql", "native"])
def either_desk(desk: UserProject, request: pytest.FixtureRequest) -> UserProject:
    """A desk, or one with a profile that lets DuckDB load the native kernels."""
    if request.param == "native":
        build_natively(desk)
    return desk
