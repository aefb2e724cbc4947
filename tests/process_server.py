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
from contextlib import suppress
from typing import Any

import duckdb

from tests import processes

#: What both import sooner or later; what another version has moved is imported later.
PRELOADED = (
    *("dbt.cli.main", "dbt.adapters.duckdb.impl", "dbt.adapters.factory", "dbt.include.duckdb"),
    *("agate", "numpy", "pyarrow.parquet", "relama.cli", "relama.project.fixture"),
)


def main() -> None:
    """Serves the socket that the argument names, until its other end is closed."""
    for name in PRELOADED:
        with suppress(ImportError):
            importlib.import_module(name)
    # The import opens a database for `duckdb.sql`, which is opened again where it is used.
    duckdb.close()
    # numpy has threads, which it ends before a fork and starts again when it needs them.
    warnings.filterwarnings("ignore", message=".*multi-threaded, use of fork")
    gc.collect()
    gc.freeze()
    message = serve(socket.socket(fileno=int(sys.argv[1])))
    if message is not None:
        run(*message["program"])


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
        sys.path[0] = os.getcwd()
        runpy.run_module(program, run_name="__main__", alter_sys=True)
    else:
        sys.path[0] = os.path.dirname(program)
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
    if "relama" in os.path.basename(message["program"][1]):
        below = processes.fork_server(serve)
        if below is not None:
            run(*below["program"])
            sys.exit()


if __name__ == "__main__":
    main()
