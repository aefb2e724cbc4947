"""JSON objects of a checkpoint, and what a download leaves in place of a file."""

from __future__ import annotations

import codecs
import json
from collections import Counter
from pathlib import Path
from typing import Any

from relama.errors import CheckpointError


def read_object_if_any(path: Path) -> dict[str, Any]:
    """The JSON object of a file, empty where there is no file."""
    return read_object(path) if path.is_file() else {}


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object of a file. Raises `CheckpointError`."""
    return parse_object(path.read_bytes(), str(path))


def parse_object(data: bytes, where: str, unique_keys: bool = False) -> dict[str, Any]:
    """Parses a JSON object; `where` names its source in errors.

    With `unique_keys`, no object may have a key twice; else the last counts.
    """
    if data.startswith(codecs.BOM_UTF8):
        raise CheckpointError(
            f"{where} begins with a byte order mark, which JSON does not allow; save it as "
            "UTF-8 without it."
        )
    try:
        value = json.loads(data.decode(), object_pairs_hook=_unique if unique_keys else None)
    except (ValueError, RecursionError) as error:
        refuse_stand_in(data, where)
        raise CheckpointError(f"{where} is not valid JSON: {error}.") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{where} must be a JSON object, not {type(value).__name__}.")
    return value


def refuse_stand_in(data: bytes, where: str) -> None:
    """Raises `CheckpointError` if a file begins as a git LFS pointer or a web page does."""
    begin = data[:100].lstrip().lower()
    if begin.startswith(b"version https://git-lfs"):
        raise CheckpointError(
            f"{where} has not been downloaded: it is a git LFS pointer; git lfs pull downloads it."
        )
    if begin.startswith((b"<!doctype html", b"<html")):
        raise CheckpointError(f"{where} is a web page (HTML); download the file itself.")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON, no key of which is there twice."""
    value = dict(pairs)
    if len(value) < len(pairs):
        counts = Counter(key for key, _ in pairs)
        twice = next(key for key in counts if counts[key] > 1)
        raise ValueError(f"the key {twice!r} is there twice")
    return value
