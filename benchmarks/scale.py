"""The suite `scale`: seconds per token and build time against the size of the model."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks import models
from benchmarks.child import Child
from benchmarks.inmemory import in_turns, summary
from benchmarks.machine import describe, memory_bandwidth, multiply_adds_per_second
from benchmarks.memory import PROMPT
from benchmarks.synthetic import SIZES
from benchmarks.systems.base import Spec
from relama.checkpoint import open_checkpoint

Say = Callable[[str], None]

STEPS = 3


def run(
    *,
    sizes: Sequence[str],
    storage: str,
    kernels: Sequence[str],
    repeat: int,
    threads: int,
    rebuild: bool,
    say: Say,
) -> dict[str, Any]:
    """Measures relama and llama.cpp Q8_0 on synthetic models of the named `sizes`.

    Beside each stand two bounds: the bytes that relama stores by the memory's
    bandwidth, and the multiply-adds by what DuckDB's inner product reaches, which bounds
    SQL alone.
    """
    bandwidth = memory_bandwidth(threads)
    ceiling = multiply_adds_per_second(threads)
    say(f"memory {bandwidth / 1e9:.1f} GB/s, inner product {ceiling / 1e9:.2f} G multiply-adds/s")
    rows = []
    for size in sizes:
        shape = SIZES[size]
        model = models.synthetic(size, shape, say)
        specs = models.synthetic_specs(model, storage, kernels, threads, say, rebuild)
        vocab_size = open_checkpoint(model).config["vocab_size"]
        built = models.build_record(Path(specs[0].path))
        multiply_adds = shape.multiply_adds(vocab_size)
        rows.append(
            {
                "size": size,
                "shape": asdict(shape),
                "multiply_adds": multiply_adds,
                "build": built,
                "bandwidth_bound_s": built["bytes"] / bandwidth,
                "multiply_add_bound_s": multiply_adds / ceiling,
                "systems": _decode(specs, repeat, say, size),
            }
        )
    return {
        "suite": "scale",
        "machine": describe(model),
        "settings": {"repeat": repeat, "threads": threads, "steps": STEPS},
        "bandwidth_bytes_per_s": bandwidth,
        "multiply_adds_per_s": ceiling,
        "models": rows,
    }


def _decode(specs: Sequence[Spec], repeat: int, say: Say, size: str) -> list[dict[str, Any]]:
    with ExitStack() as stack:
        children = [stack.enter_context(Child(spec)) for spec in specs]
        for child in children:
            child.ask("load")
            child.ask("fill", ids=PROMPT, cache="")
        replies = in_turns(
            children, repeat, lambda child: child.ask("decode", ids=PROMPT, steps=STEPS)
        )
    systems = []
    for spec, answers in zip(specs, replies, strict=True):
        seconds = [statistics.median(answer["seconds"]) for answer in answers]
        say(f"{size}, {spec.name}: {statistics.median(seconds):.3f} s a token")
        systems.append({"name": spec.name, **summary(seconds)})
    return systems
