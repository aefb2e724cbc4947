"""llama.cpp with sequences side by side in one batch: what people use to answer many prompts."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import llama_cpp
import numpy as np
from llama_cpp import _internals
from llama_cpp._logger import set_verbose

from relama.checkpoint.base import FloatArray

#: Tokens of one call, which is all prompts of 16 sequences.
BATCH = 512


@dataclass(frozen=True)
class Piece:
    """Tokens `ids` of a sequence, the first of them at `position`."""

    sequence: int
    position: int
    ids: Sequence[int]


class LlamaCppBatch:
    """A GGUF file, memory-mapped, and a cache of `sequences` sequences of up to `context` tokens.

    Args:
        unified: whether the sequences share one buffer, as llama.cpp's server does by default;
            otherwise each has its own.
    """

    def __init__(
        self, path: Path, threads: int, sequences: int, context: int, unified: bool = True
    ) -> None:
        set_verbose(False)
        self.sequences = sequences
        self._model = _internals.LlamaModel(
            path_model=os.fspath(path),
            params=llama_cpp.llama_model_default_params(),
            verbose=False,
        )
        params = llama_cpp.llama_context_default_params()
        params.n_ctx = sequences * context
        params.n_batch = params.n_ubatch = BATCH
        params.n_seq_max = sequences
        params.n_threads = params.n_threads_batch = threads
        params.kv_unified = unified
        self._context = _internals.LlamaContext(model=self._model, params=params, verbose=False)
        self._batch = _internals.LlamaBatch(n_tokens=BATCH, embd=0, n_seq_max=1, verbose=False)

    def __enter__(self) -> LlamaCppBatch:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._batch.close()
        self._context.close()
        self._model.close()

    def tokenize(self, text: str) -> list[int]:
        """The ids of `text`, nothing put before it."""
        return list(self._model.tokenize(text.encode(), add_bos=False, special=True))

    def complete(
        self, prompts: Sequence[Sequence[int]], new_tokens: int, shared: int = 0
    ) -> list[list[int]]:
        """Greedy ids after each prompt, `new_tokens` of each; as many prompts at once as fit.

        Args:
            shared: tokens that all prompts begin with. They are read once, and every sequence
                gets their keys and values.
        """
        self._context.kv_cache_clear()
        # The last token of a prompt is read again: its logits choose the first new one.
        shared = min(shared, min(len(ids) for ids in prompts) - 1)
        if shared:
            self._read([Piece(0, 0, prompts[0][:shared])])
            for sequence in range(1, self.sequences):
                self._context.kv_cache_seq_cp(0, sequence, -1, -1)
        answers: list[list[int]] = []
        for start in range(0, len(prompts), self.sequences):
            answers += self._together(prompts[start : start + self.sequences], new_tokens, shared)
            for sequence in range(self.sequences):
                self._context.kv_cache_seq_rm(sequence, shared, -1)
        return answers

    def logits(self, ids: Sequence[int]) -> FloatArray:
        """The logits after `ids`, shape `(vocab_size,)`."""
        self.complete([ids], 1)
        return self._logits(-1).copy()

    def _together(
        self, prompts: Sequence[Sequence[int]], new_tokens: int, shared: int
    ) -> list[list[int]]:
        """Answers for at most as many prompts as there are sequences."""
        pieces = [Piece(number, shared, ids[shared:]) for number, ids in enumerate(prompts)]
        answers = [[token] for token in self._read(pieces)]
        for step in range(new_tokens - 1):
            pieces = [
                Piece(number, len(ids) + step, answers[number][-1:])
                for number, ids in enumerate(prompts)
            ]
            for answer, token in zip(answers, self._read(pieces), strict=True):
                answer.append(token)
        return answers

    def _read(self, pieces: Sequence[Piece]) -> list[int]:
        """Reads all pieces into the cache; the most likely token after each."""
        tokens = [
            (piece.sequence, piece.position + number, token, number == len(piece.ids) - 1)
            for piece in pieces
            for number, token in enumerate(piece.ids)
        ]
        following = []
        for start in range(0, len(tokens), BATCH):
            part = tokens[start : start + BATCH]
            batch = self._batch.batch
            batch.n_tokens = len(part)
            for i, (sequence, position, token, last) in enumerate(part):
                batch.token[i], batch.pos[i], batch.logits[i] = token, position, last
                batch.n_seq_id[i], batch.seq_id[i][0] = 1, sequence
            self._context.decode(self._batch)
            following += [int(self._logits(i).argmax()) for i, t in enumerate(part) if t[3]]
        return following

    def _logits(self, number: int) -> FloatArray:
        """The logits after a token of the last batch, by its number there."""
        pointer = llama_cpp.llama_get_logits_ith(self._context.ctx, number)
        return np.asarray(np.ctypeslib.as_array(pointer, shape=(self._model.n_vocab(),)))
