"""Memory limits on a real model, in a process of its own that the system measures."""

from __future__ import annotations

import ctypes
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import _duckdb
import pytest

from relama.project.manifest import Project
from relama.runtime.database import kernels_of
from relama.runtime.memory.overhead import prompt_positions
from relama.runtime.session import Session, open_engine

# A fork of a process that has imported all holds more than the program that users start.
pytestmark = pytest.mark.usefixtures("as_programs")

PROMPT = "The capital of France is"
TOKENS = 5
#: Tokens of a prompt that a step reads within a limit, in SQL and natively.
PROMPTS = [4, 8, 32]


# The resident set that `wait4` tells of is at least that of pytest, whose memory the process
# has until it becomes another program. So it tells itself, at its very end.
_PROGRAM = """
import atexit, sys
from pathlib import Path
from relama.cli import main
status = Path("/proc/self/status")
atexit.register(lambda: print(status.read_text(), file=sys.stderr))
main()
"""


def generated(project: Project, *options: str) -> tuple[dict[str, Any], int]:
    """What `relama generate --json` prints, and the process's largest resident set in bytes."""
    # A file: DuckDB prints its progress where Python runs anything else.
    program = project.directory.parent / "generate.py"
    program.write_text(_PROGRAM)
    command = [sys.executable, str(program), "generate", str(project.directory), PROMPT]
    command += ["--max-tokens", str(TOKENS), "--json", *options]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    (peak,) = re.findall(r"^VmHWM:\s*(\d+) kB", run.stderr, re.MULTILINE)
    return json.loads(run.stdout), int(peak) * 1024


def planned(project: Project, limit: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "relama", "plan", str(project.directory), "--json"]
    run = subprocess.run([*command, "--memory-limit", limit], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    result: dict[str, Any] = json.loads(run.stdout)
    return result


@pytest.mark.parametrize(("limit", "streams"), [("400MB", True), ("1500MB", False)])
def test_the_process_keeps_under_its_limit(
    smollm2_project: Project, limit: str, streams: bool
) -> None:
    plan = planned(smollm2_project, limit)
    assert bool(plan["streamed"]) is streams
    unlimited, _ = generated(smollm2_project)
    result, peak = generated(smollm2_project, "--memory-limit", limit)
    assert result["ids"] == unlimited["ids"]
    assert peak <= plan["memory_limit"]


def test_the_limit_of_the_projects_variables_holds(tiny_project: Project) -> None:
    settings = tiny_project.directory / "dbt_project.yml"
    text = settings.read_text()
    assert "  relama_memory_limit: null\n" in text
    settings.write_text(text.replace("relama_memory_limit: null", "relama_memory_limit: 50MB"))
    command = [sys.executable, "-m", "relama", "plan", str(tiny_project.directory)]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 1
    assert run.stderr.startswith("Error: A memory limit of 50 MB is too small for this model;")


@pytest.mark.parametrize("length", [5, *(n for p in PROMPTS for n in (p, p + 1, 3 * p + 5))])
def test_a_limit_changes_no_token(tiny_project: Project, length: int) -> None:
    """Within a limit, what a step reads of a prompt is bounded."""
    prompt = [40 + i % 50 for i in range(length)]

    def continued(limit: int | None) -> list[int]:
        with open_engine(tiny_project, "session", limit, sequence_id=0) as engine:
            engine.start(prompt, (0.8, 20, 0.9, 7))
            tokens = [engine.step() for _ in range(40)]
            # Another turn, of which the session knows the beginning.
            engine.start([*prompt, *tokens, *prompt], (0.8, 20, 0.9, 7))
            return [*tokens, engine.step()]

    assert continued(2_000_000_000) == continued(None)


def test_a_long_prompt_is_in_the_state_as_a_short_one(tiny_project: Project) -> None:
    prompt = [40 + i % 50 for i in range(3 * max(PROMPTS))]

    def state(limit: int | None) -> list[tuple[object, ...]]:
        with open_engine(tiny_project, "session", limit, sequence_id=0) as engine:
            assert isinstance(engine, Session)
            with engine.state.transaction():
                engine.state.clear()
            engine.start(prompt, (0.0, 0, 1.0, 0))
            engine.step()
            tokens = engine.connection.execute(
                "select position, token_id, is_prompt from tokens order by position"
            ).fetchall()
            cached = engine.connection.execute(
                "select position, kv_head from layer_01__kv_cache order by all"
            ).fetchall()
        return [*tokens, *cached]

    assert state(2_000_000_000) == state(None)


def test_a_step_reads_as_many_tokens_of_a_prompt_as_were_planned(tiny_project: Project) -> None:
    at_once = prompt_positions(tiny_project.config, kernels_of(tiny_project) is not None)
    with open_engine(tiny_project, "session", 2_000_000_000, sequence_id=0) as engine:
        assert isinstance(engine, Session)
        with engine.state.transaction():
            engine.state.clear()
        engine.start([40] * (at_once + 1), (0.0, 0, 1.0, 0))
        waiting = engine.connection.execute("select count(*) from tokens").fetchall()
    assert waiting == [(at_once,)]


@pytest.mark.skipif(sys.platform != "linux", reason="DuckDB's allocator is another")
def test_within_a_limit_the_allocator_gives_back_sooner(tiny_project: Project) -> None:
    """20 to 30 MB of the limit. The allocator's name in DuckDB is not documented."""
    control = ctypes.CDLL(_duckdb.__file__).duckdb_je_mallctl
    delay, size = ctypes.c_ssize_t(-2), ctypes.c_size_t(8)
    with open_engine(tiny_project, "session", 2_000_000_000, sequence_id=0):
        for name in (b"arenas.dirty_decay_ms", b"arena.0.dirty_decay_ms"):
            assert control(name, ctypes.byref(delay), ctypes.byref(size), None, size.value) == 0
            assert delay.value == 100


def test_a_session_does_without_numpy() -> None:
    """11 MB of the limit."""
    program = "import sys, relama.cli, relama.runtime.session; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0


def test_plan_names_every_weight_once(tiny_project: Project) -> None:
    plan = planned(tiny_project, "1GB")
    names = [*plan["resident"], *plan["streamed"]]
    weights = Path(tiny_project.directory / "models" / "weights").rglob("*_weight.sql")
    assert sorted(names) == sorted(path.stem for path in weights)
