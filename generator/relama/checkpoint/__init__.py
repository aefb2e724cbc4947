"""Readers of checkpoints: Hugging Face directories and GGUF files."""

from __future__ import annotations

from pathlib import Path

from relama.checkpoint.base import Checkpoint, Tensor
from relama.checkpoint.json_object import refuse_stand_in
from relama.errors import CheckpointError, UnsupportedError

__all__ = ["Checkpoint", "Tensor", "open_checkpoint"]


def open_checkpoint(path: str | Path, tokenizer_pre: str | None = None) -> Checkpoint:
    """Opens the checkpoint at `path`, a Hugging Face directory or a GGUF file.

    Args:
        path: the directory or the file.
        tokenizer_pre: how text is split into words, in place of `tokenizer.ggml.pre`; only
            for a GGUF file.

    Raises:
        CheckpointError: `path` is neither, or what is there cannot be read.
        UnsupportedError: the checkpoint asks for something relama does not do, or
            `tokenizer_pre` is not for it.
    """
    path = Path(path)
    if path.is_dir():
        if tokenizer_pre is not None:
            raise UnsupportedError(
                f"{path}: the pre-tokenizer {tokenizer_pre!r} was given, which is for GGUF files; "
                "how a Hugging Face directory splits text stands in its tokenizer.json."
            )
        from relama.checkpoint.huggingface import HuggingFaceCheckpoint

        return HuggingFaceCheckpoint(path)
    if path.is_file():
        with path.open("rb") as file:
            begin = file.read(100)
        if begin.startswith(b"GGUF"):
            from relama.checkpoint.gguf import GgufCheckpoint

            return GgufCheckpoint(path, tokenizer_pre)
        refuse_stand_in(begin, str(path))
        raise CheckpointError(f"{path} is not a GGUF file (it does not begin with 'GGUF').")
    raise CheckpointError(
        f"{path} does not exist; give a Hugging Face directory (with config.json) or a GGUF file."
    )
