"""What every system can do: read tokens into its cache and name the next one."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # The memory of systems that need no numpy is measured.
    from relama.checkpoint.base import FloatArray

#: Positions that every system makes room for.
CONTEXT = 1280


@dataclass(frozen=True)
class Spec:
    """Which system to run on what; passed to its process as JSON.

    Attributes:
        name: as it stands in tables and plots.
        kind: `relama`, `llama.cpp`, `transformers` or `published`.
        path: the GGUF file, relama's project, or the database.
        source: the GGUF file whose weights `path` holds; the check dequantises it.
        quantised: whether its arithmetic or its weights are not float32.
        threads: the threads it may use.
        layout: the layout of `published`, `chunked` or `row_to_column`.
        memory_limit: bytes for DuckDB's buffers; None leaves its default.
        mmap: whether llama.cpp maps the file, its default, or reads all of it when it loads.
    """

    name: str
    kind: str
    path: str
    source: str
    quantised: bool = False
    threads: int = 2
    layout: str = ""
    memory_limit: int | None = None
    mmap: bool = True


class System(ABC):
    """A loaded model with the cache of one sequence."""

    @abstractmethod
    def load(self) -> None:
        """Makes everything ready, so that `read` does nothing but the model's own work."""

    @abstractmethod
    def place(self, ids: Sequence[int], past: int) -> None:
        """Keeps the first `past` positions of the cache; `ids` wait behind them. Not timed."""

    @abstractmethod
    def read(self) -> int:
        """Reads what waits into the cache; the id of the most likely next token. Timed."""

    @abstractmethod
    def logits(self, ids: Sequence[int]) -> FloatArray:
        """The logits after `ids` from an empty cache, shape `(vocab_size,)`."""

    @abstractmethod
    def close(self) -> None:
        """Gives back what `load` took."""

    def fill(self, ids: Sequence[int], cache: Path) -> int:
        """Makes `ids` the context, so that `decode` may follow; the id of the next token.

        Args:
            ids: the tokens of the context.
            cache: keys and values of them, for a system that takes them ready-made.
        """
        self.place(ids, 0)
        return self.read()

    def prefill(self, ids: Sequence[int]) -> tuple[float, int]:
        """Seconds to read `ids` from an empty cache, and the id of the next token."""
        self.place(ids, 0)
        return self._timed()

    def decode(self, ids: Sequence[int], steps: int) -> tuple[list[float], list[int]]:
        """Seconds and next ids of `steps` single tokens, the first of them the last of `ids`.

        All of `ids` but the last must lie in the cache already.
        """
        seconds, chosen = [], []
        past, token = len(ids) - 1, ids[-1]
        for _ in range(steps):
            self.place([token], past)
            took, token = self._timed()
            seconds.append(took)
            chosen.append(token)
            past += 1
        return seconds, chosen

    def _timed(self) -> tuple[float, int]:
        began = time.perf_counter()
        token = self.read()
        return time.perf_counter() - began, token
