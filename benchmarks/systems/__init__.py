"""The systems that are measured, one file per kind, behind one interface."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from benchmarks.places import BenchmarkError
from benchmarks.systems.base import Spec, System

__all__ = ["Spec", "System", "open_system"]


def open_system(spec: Spec) -> System:
    """The system that `spec` describes, not loaded yet. Raises `BenchmarkError` for no such kind.

    Each is imported where it is used: a process holds the libraries of one system.
    """
    path, source = Path(spec.path), Path(spec.source)
    match spec.kind:
        case "relama":
            from benchmarks.systems.relama import Relama

            return Relama(path, spec.threads, spec.memory_limit)
        case "llama.cpp":
            from benchmarks.systems.llama_cpp import LlamaCpp

            return LlamaCpp(path, spec.threads, spec.mmap)
        case "transformers":
            from benchmarks.systems.transformers import Transformers

            return Transformers(path, spec.threads)
        case "published":
            from benchmarks.systems.published import Published
            from benchmarks.systems.published_sql import Layout

            return Published(path, source, cast(Layout, spec.layout), spec.threads)
    raise BenchmarkError(f"There is no kind of system '{spec.kind}'.")
