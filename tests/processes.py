"""Starts dbt and relama by forking, where a test or the product starts them as programs.

`install` replaces `subprocess.Popen` by one that is the same, but for Python programs that
begin with the import of dbt or relama and that are started in the plain way: for these it
asks `tests/process_server.py`. Everything else is started as it is, and so is everything
within `as_it_is`, or where `RELAMA_TEST_FORK=0`.
"""

from __future__ import annotations

import atexit
import ctypes
import inspect
import json
import os
import resource
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
_BIN = Path(sys.executable).parent
_CHDB_SITE = ROOT / "tests" / "chdb_site"
_MODULES = ("relama", "relama.project.fixture", "dbt.cli.main")
_CODE = "from dbt.cli.main import cli; cli()"
#: How a program is started in the plain way, whatever its streams, directory and environment.
_PLAIN = {
    "executable": None,
    "preexec_fn": None,
    "close_fds": True,
    "pass_fds": (),
    "shell": False,
    "restore_signals": True,
    "gid": None,
    "gids": None,
    "uid": None,
    "umask": -1,
    "start_new_session": False,
    "process_group": -1,
}
_Popen = subprocess.Popen
_SIGNATURE = inspect.signature(_Popen._execute_child)  # type: ignore[attr-defined]
_LIBC = ctypes.CDLL(None)
_PR_SET_CHILD_SUBREAPER = 36


class _Server:
    """A server of this process."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.settings = _python_settings(os.environ)

    def start(
        self,
        program: Sequence[str],
        cwd: str,
        environment: Mapping[str, str],
        streams: Sequence[int],
    ) -> int:
        """The process that runs the program, a child of this one."""
        umask = os.umask(0)
        os.umask(umask)
        message = {
            "program": program,
            "cwd": cwd,
            "environment": dict(environment),
            "umask": umask,
            "stack": resource.getrlimit(resource.RLIMIT_STACK),
        }
        body = json.dumps(message).encode()
        read, write = os.pipe()
        _adopt_orphans(True)
        try:
            head = len(body).to_bytes(8, "little")
            socket.send_fds(self.connection, [head], [*streams, write])
            os.close(write)
            self.connection.sendall(body)
            # Ends when the process between has.
            with os.fdopen(read, "rb") as stream:
                return int(stream.read())
        finally:
            _adopt_orphans(False)


_server: _Server | None = None
_lock = threading.Lock()


class ForkingPopen(_Popen):  # type: ignore[type-arg]
    """`subprocess.Popen`, of which some processes are forks of a server."""

    def _execute_child(self, *positional: Any, **named: Any) -> None:
        given = _SIGNATURE.bind(self, *positional, **named).arguments
        environment = os.environ if given["env"] is None else given["env"]
        program = _program(given["args"])
        cwd = Path(os.fsdecode(given["cwd"] or "."))
        plain = all(given.get(name, value) == value for name, value in _PLAIN.items())
        if program is None or not plain or not cwd.is_dir():
            super()._execute_child(*positional, **named)  # type: ignore[misc]
            return
        with _lock:
            server = _server_for(environment)
            if server is None:
                super()._execute_child(*positional, **named)  # type: ignore[misc]
                return
            streams = [
                default if given[name] == -1 else given[name]
                for default, name in enumerate(("p2cread", "c2pwrite", "errwrite"))
            ]
            self.pid = server.start(program, str(Path.cwd() / cwd), environment, streams)
            self._child_created = True
        self._close_pipe_fds(*(given[name] for name in _PIPES))  # type: ignore[attr-defined]


_PIPES = ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")


def install() -> None:
    """From now on processes are started by forking."""
    if sys.platform == "linux" and os.environ.get("RELAMA_TEST_FORK") != "0":
        subprocess.Popen = ForkingPopen  # type: ignore[misc]


@contextmanager
def as_it_is() -> Iterator[None]:
    """Within this every process is started as it is without tests."""
    before, subprocess.Popen = subprocess.Popen, _Popen  # type: ignore[misc]
    try:
        yield
    finally:
        subprocess.Popen = before  # type: ignore[misc]


def fork_server(
    serve: Callable[[socket.socket], dict[str, Any] | None],
) -> dict[str, Any] | None:
    """Makes a fork of this process the server of this process.

    Returns what is to be run in a fork of the server, and None in this process.
    """
    global _server
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        ours.close()
        with Path(os.devnull).open("r+b") as null:
            for descriptor in range(3):
                os.dup2(null.fileno(), descriptor)
        message = serve(theirs)
        if message is None:
            os._exit(0)
        return message
    theirs.close()
    _server = _Server(ours)
    atexit.register(_end, ours, pid)
    subprocess.Popen = ForkingPopen  # type: ignore[misc]
    return None


def limit_stack(limits: tuple[int, int]) -> None:
    """Sets the limit of the stack as it would be at this process's start.

    The main thread's is the limit, and other threads get as much as the limit was at the start.
    """
    resource.setrlimit(resource.RLIMIT_STACK, limits)
    if limits[0] != resource.RLIM_INFINITY:
        attributes = ctypes.create_string_buffer(256)
        _LIBC.pthread_attr_init(attributes)
        _LIBC.pthread_attr_setstacksize(attributes, ctypes.c_size_t(limits[0]))
        if _LIBC.pthread_setattr_default_np(attributes):
            raise OSError("The stack of threads cannot be set.")


def _adopt_orphans(is_adopting: bool) -> None:
    """Whether this process becomes the parent of processes below it whose own parent ends."""
    if _LIBC.prctl(_PR_SET_CHILD_SUBREAPER, int(is_adopting), 0, 0, 0):
        raise OSError("This process cannot become a subreaper.")


def _program(command: Any) -> list[str] | None:
    """What a server runs of a command line, or None."""
    if isinstance(command, str | bytes | os.PathLike):
        return None
    words = [os.fsdecode(word) for word in command]
    if words[0] in (str(_BIN / "dbt"), str(_BIN / "relama")):
        return ["", *words]
    known = words[1:2] == ["-m"] and words[2] in _MODULES
    if words[0] == sys.executable and (known or words[1:3] == ["-c", _CODE]):
        return words[1:]
    return None


def _server_for(environment: Mapping[str, str]) -> _Server | None:
    """The server, unless Python itself would run otherwise in this environment."""
    global _server
    if _server is None:
        ours, theirs = socket.socketpair()
        process = _Popen(
            [sys.executable, "-m", "tests.process_server", str(theirs.fileno())],
            cwd=ROOT,
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
        )
        process.returncode = 0  # Nobody waits for it but this:
        atexit.register(_end, ours, process.pid)
        theirs.close()
        _server = _Server(ours)
    return _server if _server.settings == _python_settings(environment) else None


def _end(connection: socket.socket, pid: int) -> None:
    """Ends a server."""
    connection.close()
    with suppress(ChildProcessError):
        os.waitpid(pid, 0)


def _python_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """Without the folder that does for other programs what a server has done for its forks."""
    settings = {key: environment[key] for key in environment if key.startswith("PYTHON")}
    path = settings.pop("PYTHONPATH", "").split(os.pathsep)
    rest = os.pathsep.join(folder for folder in path if folder != str(_CHDB_SITE))
    return {**settings, "PYTHONPATH": rest} if rest else settings
