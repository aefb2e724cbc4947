"""llama.cpp, through llama-cpp-python."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.systems.base import CONTEXT, System
from relama.checkpoint.base import FloatArray


class LlamaCpp(System):
    """A GGUF file, memory-mapped by default; prompts are read in batches of 512."""

    def __init__(self, path: Path, threads: int, mmap: bool = True) -> None:
        self.mmap = mmap
        self.path = path
        self.threads = threads

    def load(self) -> None:
        from llama_cpp import Llama

        self.llama = Llama(
            model_path=os.fspath(self.path),
            n_ctx=CONTEXT,
            n_batch=512,
            n_threads=self.threads,
            n_threads_batch=self.threads,
            use_mmap=self.mmap,
            verbose=False,
        )
        self._waiting: list[int] = []

    def close(self) -> None:
        self.llama.close()

    def place(self, ids: Sequence[int], past: int) -> None:
        # `eval` forgets what lies behind `n_tokens` before it reads on.
        self.llama.n_tokens = past
        self._waiting = list(ids)

    def read(self) -> int:
        self.llama.eval(self._waiting)
        return int(self._last_logits().argmax())

    def logits(self, ids: Sequence[int]) -> FloatArray:
        self.place(ids, 0)
        self.read()
        return self._last_logits().copy()

    def _last_logits(self) -> FloatArray:
        from llama_cpp import llama_get_logits_ith

        pointer = llama_get_logits_ith(self.llama.ctx, -1)
        return np.asarray(np.ctypeslib.as_array(pointer, shape=(self.llama.n_vocab(),)))
