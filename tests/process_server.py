"""Runs dbt and relama in forks of a process that has imported them.

Each runs in a process of its own, as `python` runs it: with the standard streams, the
directory, the environment and the arguments that it is given, and as a child of the process
that asks for it. What it saves is the time of the imports. Before a fork no database has
been opened and no thread started.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import runpy
import socket
import sys
import time
import warnings
from contextlib import ExitStack, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
from dbt.cli.main import dbtRunner

from tests import processes
from tests.chdb_site import chdb_redirect

#: A project with something of every kind. dbt's first look at a kind takes long.
PROJECT = {
    "dbt_project.yml": "{name: warm, profile: warm, vars: {a: 1}, on-run-start: [select 1]}",
    "profiles.yml": "warm: {target: dev, outputs: {dev: {type: duckdb, path: ':memory:'}}}",
    "seeds/seed.csv": "a,b\n1,2\n",
    "models/below.sql": "{{ config(materialized='ephemeral', tags=['a']) }} "
    "select a from {{ source('sources', 'one') }}",
    "models/above.sql": "select a from {{ ref('below') }}",
    "analyses/analysis.sql": "select a from {{ ref('above') }}",
    "tests/single.sql": "select a from {{ ref('above') }}",
    "macros/macros.sql": "{% macro same(x) %}{{ x }}{% endmacro %} {% test never(model, "
    "column_name) %}select {{ column_name }} from {{ model }} where false{% endtest %}",
    "models/docs.md": "{% docs text %}of it{% enddocs %}",
    "models/all.yml": """
sources: [{name: sources, schema: main, tables: [{name: one, columns: [{name: a}]}]}]
models: [{name: above, columns: [{name: a, description: "{{ doc('text') }}",
          data_tests: [not_null, never]}]}]
seeds: [{name: seed, description: of it}]
macros: [{name: same, arguments: [{name: x, type: string, description: of it}]}]
exposures: [{name: use, type: application, owner: {name: x}, depends_on: ["ref('above')"]}]
unit_tests: [{name: unit, model: above, given: [{input: ref('below'), rows: [{a: 1}]}],
              expect: {rows: [{a: 1}]}}]
""",
}
#: What both import sooner or later; what another version has moved is imported later.
PRELOADED = (
    *("dbt.adapters.duckdb.impl", "dbt.adapters.factory", "dbt.include.duckdb"),
    *("agate", "numpy", "pyarrow.parquet", "relama.cli"),
)


def main() -> None:
    """Serves the socket that the argument names, until its other end is closed."""
    chdb_redirect.install()
    for name in PRELOADED:
        with suppress(ImportError):
            importlib.import_module(name)
    # The import opens a database for `duckdb.sql`, which is opened again where it is used.
    duckdb.close()
    threads = _threads()
    warm_up()
    assert _threads() == threads, "The first look of dbt started threads."
    # numpy has threads, which it ends before a fork and starts again when it needs them.
    warnings.filterwarnings("ignore", message=".*multi-threaded, use of fork")
    gc.collect()
    gc.freeze()
    message = serve(socket.socket(fileno=int(sys.argv[1])))
    if message is not None:
        run(*message["program"])


def warm_up() -> None:
    """Parses a project twice, the second time from what the first has kept.

    dbt makes the code that reads and writes its classes when it first needs it; all else is
    of one invocation, and a process may invoke dbt many times. The static parser has threads.
    """
    with TemporaryDirectory() as directory, ExitStack() as stack:
        for name, text in PROJECT.items():
            path = Path(directory) / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        stack.callback(os.chdir, Path.cwd())
        os.chdir(directory)
        os.environ["DBT_SEND_ANONYMOUS_USAGE_STATS"] = "false"
        for _ in range(2):
            arguments = ["--quiet", "parse", "--no-static-parser", "--profiles-dir", directory]
            parsed = dbtRunner().invoke(arguments)
            assert parsed.success, parsed.exception


def _threads() -> list[str]:
    return sorted(path.name for path in Path("/proc/self/task").iterdir())


def serve(connection: socket.socket) -> dict[str, Any] | None:
    """Forks for each request; returns it in the new process, and None at the end."""
    while (request := _received(connection)) is not None:
        message, descriptors = request
        between = os.fork()
        if between == 0:
            # When this process ends, the one that asks becomes the parent of the new one.
            pid = os.fork()
            if pid:
                os.write(descriptors[3], str(pid).encode())
                os._exit(0)
            connection.close()
            _become(message, descriptors)
            return message
        os.waitpid(between, 0)
        # The end of this tells that the process between has ended.
        for descriptor in descriptors:
            os.close(descriptor)
    return None


def run(kind: str, program: str, *arguments: str) -> None:
    """Runs `python -c PROGRAM`, `python -m PROGRAM` or `python PROGRAM`."""
    sys.argv = ["-c" if kind == "-c" else program, *arguments]
    if kind == "-c":
        sys.path[0] = ""
        exec(compile(program, "<string>", "exec"), {"__name__": "__main__"})
    elif kind == "-m":
        sys.path[0] = str(Path.cwd())
        runpy.run_module(program, run_name="__main__", alter_sys=True)
    else:
        sys.path[0] = str(Path(program).parent)
        runpy.run_path(program, run_name="__main__")


def _received(connection: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """A request and its file descriptors; None where the other end is closed."""
    head, descriptors, _, _ = socket.recv_fds(connection, 8, 4)
    if not head:
        return None
    with connection.makefile("rb") as stream:
        return json.loads(stream.read(int.from_bytes(head, "little"))), descriptors


def _become(message: dict[str, Any], descriptors: list[int]) -> None:
    """Takes over streams, directory and environment of the one that asks."""
    for target, descriptor in enumerate(descriptors[:3]):
        os.dup2(descriptor, target)
    for descriptor in descriptors:
        os.close(descriptor)
    processes.limit_stack((message["stack"][0], message["stack"][1]))
    os.umask(message["umask"])
    os.chdir(message["cwd"])
    os.environ.clear()
    os.environ.update(message["environment"])
    time.tzset()
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        old = getattr(sys, name)
        buffering = 1 if name == "stderr" or os.isatty(descriptor) else -1
        mode = "r" if name == "stdin" else "w"
        new = open(descriptor, mode, buffering, old.encoding, old.errors, closefd=False)  # noqa: SIM115
        setattr(sys, name, new)
        setattr(sys, f"__{name}__", new)
    if "relama" in Path(message["program"][1]).name:
        below = processes.fork_server(serve)
        if below is not None:
            run(*below["program"])
            sys.exit()


if __name__ == "__main__":
    main()
