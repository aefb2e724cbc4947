"""The suite `memory`: seconds per token while the memory shrinks below the size of the model.

Each point is a process of its own in a cgroup of its own, which counts the
page cache as well: neither system can keep the model outside of the limit.
"""

from __future__ import annotations

import hashlib
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import cgroups, models
from benchmarks.checks import check
from benchmarks.child import Child
from benchmarks.machine import describe
from benchmarks.places import BUILD, BenchmarkError
from benchmarks.synthetic import Shape
from benchmarks.systems.base import Spec
from relama.checkpoint import open_checkpoint
from relama.checkpoint.base import FloatArray
from relama.reference import forward

Say = Callable[[str], None]

#: Limits as parts of the model's bytes.
FRACTIONS = (1.1, 1.0, 0.9, 0.66, 0.5)

#: Bytes a second of the throttled disk: that of the published experiment (arXiv 2502.02818).
PUBLISHED_DISK = 125_000_000

#: Random weights answer nothing: any tokens will do.
PROMPT = [504, 3575, 282, 4649, 314, 260, 1142, 282]

MEASURED_AT_LEAST = 2


def run(
    *,
    shape: Shape,
    storage: str,
    kernels: Sequence[str],
    fractions: Sequence[float],
    rates: Sequence[int | None],
    warmup: int,
    tokens: int,
    cap: float,
    threads: int,
    no_mmap: bool,
    rebuild: bool,
    say: Say,
) -> dict[str, Any]:
    """Measures relama and llama.cpp Q8_0 under every limit; the result as JSON.

    Args:
        shape: of the synthetic model.
        storage: relama's.
        kernels: what does relama's arithmetic: a system each.
        fractions: limits, as parts of the bytes of the Q8_0 file.
        rates: bytes per second that may be read, None for the disk's own speed.
        warmup: tokens that are not counted.
        tokens: tokens that are.
        cap: seconds after which a point ends, once it has two tokens.
        threads: of each system.
        no_mmap: whether llama.cpp is measured without a mapped file as well.
        rebuild: whether relama's project is made anew.
        say: told the progress.

    Raises:
        BenchmarkError: processes cannot be limited here.
    """
    if reason := cgroups.unavailable():
        raise BenchmarkError(reason)
    model = models.synthetic("the memory suite", shape, say)
    specs = models.synthetic_specs(model, storage, kernels, threads, say, rebuild)
    if no_mmap:
        specs.append(replace(specs[-1], name=f"{specs[-1].name}, no mmap", mmap=False))
    expected = _expected(model, say)
    size = model.stat().st_size
    systems: list[dict[str, Any]] = []
    for spec in specs:
        say(f"checking {spec.name}")
        systems.append(
            {
                "name": spec.name,
                "bytes": _database(spec).stat().st_size,
                "checked": check(_logits(spec), expected, quantised=True),
                "points": [],
            }
        )
    for rate in rates:
        for fraction in fractions:
            for spec, system in zip(specs, systems, strict=True):
                limit = int(size * fraction)
                disk = f"{rate / 1e6:.0f} MB/s" if rate else "the disk's own speed"
                say(f"{spec.name}, limit {limit / 1e6:,.0f} MB ({fraction:g} x), {disk}")
                point = _point(spec, limit, rate, warmup, tokens, cap, say)
                system["points"].append({"fraction": fraction, **point})
    return {
        "suite": "memory",
        "machine": describe(model),
        "settings": {
            "shape": asdict(shape),
            "threads": threads,
            "warmup": warmup,
            "tokens": tokens,
            "cap_s": cap,
        },
        "model_bytes": size,
        "systems": systems,
    }


def _point(
    spec: Spec, limit: int, rate: int | None, warmup: int, tokens: int, cap: float, say: Say
) -> dict[str, Any]:
    """One system under one limit."""
    point: dict[str, Any] = {"limit_bytes": limit, "read_rate": rate}
    if spec.kind == "relama":
        spec = replace(spec, memory_limit=limit)
    cgroups.forget(_database(spec))
    steps: list[dict[str, Any]] = []
    with cgroups.limited(limit, rate, _database(spec)) as group:
        began = time.perf_counter()
        try:
            with Child(spec, group.wrap) as child:
                child.ask("load", timeout=10 * cap)
                first = child.ask("prefill", ids=PROMPT, timeout=10 * cap)
                ids = [*PROMPT, first["next_token"]]
                point["first_token_s"] = round(time.perf_counter() - began, 3)
                while len(steps) < warmup + tokens:
                    if time.perf_counter() - began > cap and len(steps) >= MEASURED_AT_LEAST:
                        break
                    steps.append(child.ask("decode", ids=ids, steps=1, timeout=10 * cap))
                    ids.append(steps[-1]["next_tokens"][0])
                    say(f"  {steps[-1]['seconds'][0]:.3f} s")
        except BenchmarkError as error:  # It died, took too long, or said that memory is out.
            point["failed"] = str(error).splitlines()[0]
            say(f"  {error}")
        point["peak_bytes"] = group.peak()
    return {**point, **measured(steps, warmup)}


def measured(steps: Sequence[dict[str, Any]], warmup: int) -> dict[str, Any]:
    """Medians of the steps after the warm-up; of the last two where time ran out before."""
    if len(steps) < MEASURED_AT_LEAST:
        return {}
    counted = steps[min(warmup, len(steps) - MEASURED_AT_LEAST) :]
    seconds = [step["seconds"][0] for step in counted]
    read = [step["read_bytes"] for step in counted]
    return {
        "median_s": round(statistics.median(seconds), 4),
        "seconds": [round(value, 4) for value in seconds],
        "read_bytes": int(statistics.median(read)),
        "peak_resident_bytes": counted[-1]["peak_resident_bytes"],
    }


def _database(spec: Spec) -> Path:
    path = Path(spec.path)
    return path / "relama.duckdb" if path.is_dir() else path


def _logits(spec: Spec) -> FloatArray:
    """The logits after the prompt, with all the memory there is."""
    file = BUILD / "logits.npy"
    with Child(spec) as child:
        child.ask("load")
        child.ask("logits", ids=PROMPT, file=str(file))
    logits: FloatArray = np.load(file)
    file.unlink()
    return logits


def _expected(model: Path, say: Say) -> FloatArray:
    """The logits of relama's numpy reference, which holds one dequantised matrix at a time."""
    key = hashlib.sha256(f"{model.stat().st_mtime_ns} {PROMPT}".encode()).hexdigest()[:8]
    kept = BUILD / f"{model.stem}-{key}.npy"
    if not kept.is_file():
        say("computing the logits in numpy, to check by")
        checkpoint = open_checkpoint(model)
        reference = forward(checkpoint.config, checkpoint.tensors, PROMPT)
        np.save(kept, reference.logits[-1])
    logits: FloatArray = np.load(kept)
    return logits
