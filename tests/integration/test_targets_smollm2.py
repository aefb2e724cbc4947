"""The real model on every other database, against the reference values of transformers.

`make test-slow` runs them: minutes, of which `make test` has none to spare.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from relama.project.manifest import Project
from tests.chdb_site import chdb_redirect
from tests.conftest import quiet
from tests.engines import CHDB_SITE, postgres_profile
from tests.integration.test_smollm2 import (
    REFERENCE,
    assert_every_greedy_id_equals_the_reference,
    assert_top_ten_logits_equal_the_reference,
)
from tests.targets import make_project_on, set_profile

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=["clickhouse", "postgres"])
def project(
    request: pytest.FixtureRequest, smollm2_gguf: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Project]:
    """SmolLM2-135M in float32: on ClickHouse, and on PostgreSQL with pgvector."""
    folder = tmp_path_factory.mktemp("targets")
    prepare: Callable[[Project], None] | None = None
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "postgres":
            server = request.getfixturevalue("vector_postgres")
            database = server.database("smollm2")
            with server.connect(database) as connection:
                connection.execute("create extension vector")
            prepare = partial(set_profile, output=postgres_profile(server, database, "smollm2"))
        else:
            patch.setenv(chdb_redirect.VARIABLE, str(folder / "clickhouse"))
            patch.setenv("PYTHONPATH", str(CHDB_SITE), prepend=":")
        yield make_project_on(request.param, folder / "smollm2", smollm2_gguf, prepare or quiet)
        chdb_redirect.close_clients()


@pytest.mark.parametrize("name", REFERENCE)
def test_every_greedy_id_equals_the_reference(project: Project, name: str) -> None:
    assert_every_greedy_id_equals_the_reference(project, name)


@pytest.mark.parametrize("name", REFERENCE)
def test_top_ten_logits_equal_the_reference(project: Project, name: str) -> None:
    assert_top_ten_logits_equal_the_reference(project, name)
