"""What every reader gives: names, shapes, dtypes and lazily read tensors.

Names, of tensors and of config fields, are Hugging Face's, whatever the file
format. Nothing outside this package knows a file format.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

FloatArray = npt.NDArray[np.float32]

#: Elements read at a time while a tensor is streamed (128 MiB of float32).
BLOCK_ELEMENTS = 32 * 1024 * 1024


@dataclass(frozen=True)
class Tensor:
    """A tensor that stays on disk until its rows are asked for.

    Attributes:
        name: Hugging Face's name, such as `model.layers.0.self_attn.q_proj.weight`.
        shape: Hugging Face's order: `(out_features, in_features)` for a matrix.
        dtype: the type as stored: `F32`, `F16`, `BF16`, `Q4_1`, ...
        read_rows: reads rows `[start, stop)` as float32, shape `(stop - start, *shape[1:])`.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    read_rows: Callable[[int, int], FloatArray] = field(repr=False, compare=False)

    def read(self) -> FloatArray:
        """The whole tensor as float32, shape `shape`."""
        return self.read_rows(0, self.shape[0])

    def blocks(self) -> Iterator[tuple[int, FloatArray]]:
        """Yields `(first_row, rows)` in order, at most `BLOCK_ELEMENTS` elements each."""
        width = int(np.prod(self.shape[1:], dtype=np.int64)) or 1
        step = max(1, BLOCK_ELEMENTS // width)
        for start in range(0, self.shape[0], step):
            yield start, self.read_rows(start, min(start + step, self.shape[0]))


def zeros(name: str, rows: int) -> Tensor:
    """A vector of zeros, shape `(rows,)`: a bias that a checkpoint has left out."""
    return Tensor(
        name,
        (rows,),
        "F32",
        lambda start, stop: np.zeros(len(range(rows)[start:stop]), np.float32),
    )


def default_template(named: Mapping[str, str]) -> tuple[str | None, list[str]]:
    """The chat template of the name `default`; a warning where all have other names.

    >>> default_template({"default": "{{ messages }}", "tool_use": "{{ tools }}"})
    ('{{ messages }}', [])
    """
    if "default" in named or not named:
        return named.get("default"), []
    others = ", ".join(sorted(named))
    return None, [
        f"The chat templates are for other uses ({others}); none is the default, so only plain "
        "prompts work."
    ]


class Checkpoint(ABC):
    """A model on disk.

    Attributes:
        path: the directory or file it was opened from.
        config: the fields of Hugging Face's `config.json` (`model_type`, `hidden_size`, ...).
        tensors: every tensor of the checkpoint by its Hugging Face name.
        tokenizer_config: the fields of `tokenizer_config.json` that matter here
            (`bos_token`, `eos_token`, `add_bos_token`, ...), tokens as plain strings.
        generation_config: the fields of `generation_config.json`; empty where there is none.
        chat_template: the Jinja source of the chat template, if the checkpoint has one.
        post_processor_decides: whether the tokenizer's post-processor alone says which tokens
            are put around a text, whatever `add_bos_token` and `add_eos_token` say.
        warnings: a sentence for each thing that was assumed or left out, for the user to read.
    """

    path: Path
    config: dict[str, Any]
    tensors: Mapping[str, Tensor]
    tokenizer_config: dict[str, Any]
    generation_config: dict[str, Any]
    chat_template: str | None
    post_processor_decides: bool = False
    warnings: Sequence[str] = ()

    @abstractmethod
    def tokenizer(self) -> Tokenizer:
        """The tokenizer. Raises `CheckpointError` where its file is absent or broken."""
