"""Readers of checkpoints: Hugging Face directories and GGUF files."""

from __future__ import annotations

from pathlib import Path

from generator.checkpoint.base import Checkpoint, Tensor
from generator.errors import CheckpointError

__all__ = ["Checkpoint", "Tensor", "open_checkpoint"]


def open_checkpoint(path: str | Path) -> Checkpoint:
    """Opens the checkpoint at `path`, a Hugging Face directory or a GGUF file.

    Raises:
        CheckpointError: `path` is neither, or what is there cannot be read.
    """
    path = Path(path)
    if path.is_dir():
        from generator.checkpoint.huggingface import HuggingFaceCheckpoint

        return HuggingFaceCheckpoint(path)
    if path.is_file():
        with path.open("rb") as file:
            magic = file.read(4)
        if magic == b"GGUF":
            from generator.checkpoint.gguf import GgufCheckpoint

            return GgufCheckpoint(path)
        raise CheckpointError(f"{path} is not a GGUF file (it does not begin with 'GGUF').")
    raise CheckpointError(
        f"{path} does not exist; give a Hugging Face directory (with config.json) or a GGUF file."
    )
