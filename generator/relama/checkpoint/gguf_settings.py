"""The keys of a GGUF file that describe its architecture, `llama.block_count` and the like."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from relama.errors import CheckpointError, UnsupportedError


class Settings:
    """Metadata of one architecture, by names without its prefix.

    Attributes:
        architecture: `general.architecture`, with which the keys begin.
        metadata: all key-value pairs of the file.
    """

    def __init__(self, architecture: str, metadata: Mapping[str, Any]) -> None:
        self.architecture = architecture
        self.metadata = metadata

    def key(self, name: str) -> str:
        """The key as the file has it: `llama.block_count` for `block_count`."""
        return f"{self.architecture}.{name}"

    def get(self, name: str, default: object = None) -> Any:
        """The value as it is."""
        return self.metadata.get(self.key(name), default)

    def integer(self, name: str, default: int | None = None) -> int:
        """A whole number above 0; an array with one value per layer must hold equal ones."""
        value = self.get(name, default)
        if isinstance(value, list) and value:
            if any(element != value[0] for element in value):
                raise UnsupportedError(
                    f"{self.key(name)} differs between layers ({shown(value)}), which is not "
                    "supported; supported: the same value for every layer."
                )
            value = value[0]
        if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
            raise CheckpointError(
                f"{self.key(name)} must be a positive whole number, not {shown(value)}."
            )
        return int(value)

    def number(self, name: str, default: float | None = None) -> float:
        """A number, as the shortest decimal of its float32."""
        value = self.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e38:
            raise CheckpointError(f"{self.key(name)} must be a number, not {shown(value)}.")
        return shortest(value)

    def refuse(self, name: str, supported: object) -> UnsupportedError:
        """The error of a value that would be computed otherwise than it says."""
        return UnsupportedError(
            f"{self.key(name)} is {shown(self.get(name))}, which is not supported; "
            f"supported: {supported}."
        )


def shown(value: object) -> str:
    """A value for a message, not too long."""
    if isinstance(value, float) and abs(value) < 1e38:
        value = shortest(value)
    text = repr(value)
    return text if len(text) <= 64 else f"{text[:61]}..."


def shortest(value: float) -> float:
    """The shortest decimal of the same float32: 1e-05, not 9.999999747378752e-06."""
    return float(str(np.float32(value)))
