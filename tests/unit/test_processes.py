"""What tests start by forking runs as it runs without that."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests import processes

DBT = str(Path(sys.executable).parent / "dbt")
MODULE = [sys.executable, "-m", "relama"]
CODE = [sys.executable, "-c", "from dbt.cli.main import cli; cli()"]
#: Shows arguments, environment, standard input, directory, limits, and how a program ends.
PROJECT = {
    "dbt_project.yml": "{name: shown, profile: shown}",
    "profiles.yml": "shown: {target: dev, outputs: {dev: {type: duckdb, path: ':memory:'}}}",
    "models/one.sql": "select '{{ env_var('SHOWN') }}' as one, {{ var('two') }} as two",
}

pytestmark = pytest.mark.skipif(
    subprocess.Popen is not processes.ForkingPopen, reason="processes are started as they are"
)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("shown")
    for name, text in PROJECT.items():
        (directory / name).parent.mkdir(exist_ok=True)
        (directory / name).write_text(text)
    return directory


def ended(command: list[str], cwd: Path, **options: object) -> tuple[int, str, str]:
    """How a process ended and what it printed, without times."""
    shutil.rmtree(cwd / "target", ignore_errors=True)
    environment = {**os.environ, "SHOWN": "thus", "DBT_PROFILES_DIR": str(cwd)}
    environment["DBT_SEND_ANONYMOUS_USAGE_STATS"] = "false"
    done = subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, check=False, **options
    )  # type: ignore[call-overload]
    return done.returncode, *(re.sub(r"[\d:.]+", "0", t) for t in (done.stdout, done.stderr))


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ([DBT, "show", "--select", "one", "--vars", "{two: 2}"], 0),
        ([*CODE, "run", "--vars", "{two: 2}", "--log-format", "json", "--quiet"], 0),
        ([*CODE, "--no-use-colors", "compile"], 2),
        ([DBT, "nonsense"], 2),
        ([sys.executable, "-m", "dbt.cli.main", "nonsense"], 2),
        ([sys.executable, "-m", "relama.project.fixture", "--help"], 0),
        ([*MODULE, "--version"], 0),
        ([*MODULE, "build", "."], 1),
        ([*MODULE, "generate", ".", "-"], 1),
    ],
)
def test_a_fork_ends_and_prints_as_a_program_does(
    project: Path, command: list[str], code: int
) -> None:
    forked = ended(command, project, input="Hello")
    with processes.as_it_is():
        assert ended(command, project, input="Hello") == forked
    assert forked[0] == code


def test_a_fork_is_a_child_that_signals_reach(project: Path) -> None:
    for number in (signal.SIGKILL, signal.SIGTERM):
        with subprocess.Popen(
            [*MODULE, "generate", ".", "-"],
            cwd=project,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        ) as process:
            status = Path(f"/proc/{process.pid}/status").read_text()
            assert f"PPid:\t{os.getpid()}\n" in status
            assert "python" in Path(f"/proc/{process.pid}/cmdline").read_text()
            process.send_signal(number)
            assert process.wait(20) in (-number, 130)


def test_other_programs_are_started_as_they_are() -> None:
    program = "import sys; print('dbt' in sys.modules or 'relama' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "False\n"
    with pytest.raises(FileNotFoundError):
        subprocess.run([DBT], cwd="/nowhere")
