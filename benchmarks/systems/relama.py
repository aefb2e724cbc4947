"""relama's own session on a built project."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.places import BenchmarkError
from benchmarks.systems.base import System
from relama.project.manifest import load_project
from relama.runtime.session import Session, open_engine, top_logits

if TYPE_CHECKING:  # See base.py.
    from relama.checkpoint.base import FloatArray

GREEDY = (0.0, 0, 1.0, 0)


class Relama(System):
    """A project that `relama build` has built, and the engine `session`."""

    def __init__(self, path: Path, threads: int, memory_limit: int | None = None) -> None:
        self.project = load_project(path)
        self.threads = threads
        self.memory_limit = memory_limit

    def load(self) -> None:
        self._stack = ExitStack()
        engine = self._stack.enter_context(
            open_engine(self.project, "session", self.memory_limit, sequence_id=0)
        )
        if not isinstance(engine, Session):
            raise BenchmarkError("relama's engine 'session' is not a session.")
        self.engine = engine
        engine.connection.execute(f"set threads = {self.threads}")
        self._held: list[int] = []

    def close(self) -> None:
        self._stack.close()

    def place(self, ids: Sequence[int], past: int) -> None:
        tokens = [*self._held[:past], *ids]
        if past == 0:
            with self.engine.state.transaction():
                self.engine.state.clear()
        # A step has appended the token it chose, which is what comes next anyway.
        if past == 0 or tokens != self._held:
            self.engine.start(tokens, GREEDY)
        self._held = tokens

    def read(self) -> int:
        token = self.engine.step()
        self._held.append(token)
        return token

    def fill(self, ids: Sequence[int], cache: Path) -> int:
        """Reads only what the session does not hold yet."""
        shared = 0
        while shared < min(len(self._held), len(ids) - 1) and self._held[shared] == ids[shared]:
            shared += 1
        self.place(ids[shared:], shared)
        return self.read()

    def logits(self, ids: Sequence[int]) -> FloatArray:
        """Asks the analysis `candidates` for all tokens, on a connection of its own."""
        import numpy as np

        self.close()
        candidates = top_logits(self.project, ids, self.project.config.vocab_size)
        self.load()
        logits = np.empty(self.project.config.vocab_size, np.float32)
        logits[[candidate.id for candidate in candidates]] = [c.logit for c in candidates]
        return logits
