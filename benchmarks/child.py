"""The parent's side of a system's process."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from types import TracebackType
from typing import Any

from benchmarks.places import ROOT, BenchmarkError
from benchmarks.systems.base import Spec

Wrap = Callable[[Sequence[str]], list[str]]


class ChildDiedError(BenchmarkError):
    """The process of a system ended in the middle of its work."""


class TimedOutError(BenchmarkError):
    """A system took longer than it may; its process was ended."""


class Child:
    """Runs a system in a process of its own and asks it one thing at a time.

    Args:
        spec: the system.
        wrap: makes the command one that runs elsewhere, such as in a cgroup.
    """

    def __init__(self, spec: Spec, wrap: Wrap = list) -> None:
        self.spec = spec
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the process)
        command = [sys.executable, "-m", "benchmarks.worker", json.dumps(asdict(spec))]
        self._process = subprocess.Popen(
            wrap(command),
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            # Ctrl-C reaches the parent only, which then ends the children.
            start_new_session=True,
            env={**os.environ, "DBT_SEND_ANONYMOUS_USAGE_STATS": "false"},
        )

    def ask(self, do: str, timeout: float | None = None, **arguments: Any) -> dict[str, Any]:
        """The reply to a request.

        Raises:
            ChildDiedError: the process ended.
            TimedOutError: it took longer than `timeout` seconds.
            BenchmarkError: the system could not do it.
        """
        assert self._process.stdin and self._process.stdout
        try:
            print(json.dumps({"do": do, **arguments}), file=self._process.stdin, flush=True)
        except BrokenPipeError:
            raise self._death() from None
        if timeout is not None:
            ready, _, _ = select.select([self._process.stdout], [], [], timeout)
            if not ready:
                self.close(kill=True)
                raise TimedOutError(f"{self.spec.name}: '{do}' took more than {timeout:.0f} s.")
        line = self._process.stdout.readline()
        if not line:
            raise self._death()
        reply: dict[str, Any] = json.loads(line)
        if "error" in reply:
            raise BenchmarkError(f"{self.spec.name}: '{do}' failed: {reply['error']}")
        return reply

    def _death(self) -> ChildDiedError:
        code = self._process.wait()
        self._errors.seek(0)
        said = self._errors.read().decode(errors="replace").strip().splitlines()
        reason = "it was killed" if code == -9 else f"exit code {code}"
        last = f": {said[-1]}" if said and code != -9 else ""
        return ChildDiedError(f"{self.spec.name}: the process ended ({reason}){last}")

    def close(self, kill: bool = False) -> None:
        """Ends the process."""
        if self._process.poll() is None:
            if kill:
                self._process.kill()
            elif self._process.stdin:
                self._process.stdin.close()
            deadline = time.monotonic() + 20
            while self._process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.02)
            if self._process.poll() is None:
                self._process.kill()
        self._process.wait()
        self._errors.close()

    def __enter__(self) -> Child:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close(kill=kind is not None)
