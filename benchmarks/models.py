"""The files that the suites run on, made where they are missing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from gguf import GGMLQuantizationType as Kind

from benchmarks.gguf_variants import write_variant
from benchmarks.places import BUILD, BenchmarkError, smollm2
from benchmarks.synthetic import Shape, write_synthetic
from benchmarks.systems.base import Spec
from benchmarks.systems.published_sql import Layout
from relama.storage import CHOICES

Say = Callable[[str], None]

#: What does relama's arithmetic, as `relama new --kernels` calls it, and how tables name it.
KERNELS = {"native": "native", "sql": "SQL"}


def variant(kind: Kind, say: Say) -> Path:
    """SmolLM2 with every matrix in `kind`."""
    path = BUILD / f"smollm2-{kind.name.lower()}.gguf"
    if not path.is_file():
        say(f"writing {path.name}")
        write_variant(smollm2(), path, kind)
    return path


def kind_of(path: Path) -> str:
    """The type of a GGUF file, which ends its name: `Q4_1`."""
    return path.stem.replace("-", ".").rsplit(".", 1)[-1].upper()


def synthetic(name: str, shape: Shape, say: Say) -> Path:
    """A Llama of random weights in Q8_0."""
    sizes = "-".join(map(str, vars(shape).values()))
    path = BUILD / f"synthetic-{sizes}-q8_0.gguf"
    if not path.is_file():
        say(f"writing {path.name}, a model of {name}")
        write_synthetic(path, shape, smollm2())
    return path


def published(layout: Layout, say: Say) -> Path:
    """The database of a published layout, with SmolLM2's weights in float32."""
    from benchmarks.systems.published import write_database

    path = BUILD / f"published-{layout}.duckdb"
    source = variant(Kind.F32, say)
    if not path.is_file():
        say(f"writing {path.name}")
        write_database(path, source, layout)
    return path


def relama_project(
    model: Path, storage: str, kernels: str, say: Say, rebuild: bool = False
) -> Path:
    """relama's project of `model`, built; what that took lies beside it, see `build_record`.

    Raises:
        BenchmarkError: relama cannot write or build it.
    """
    directory = BUILD / f"relama-{model.stem}-{storage}-{kernels}"
    if rebuild:
        shutil.rmtree(directory, ignore_errors=True)
        _record_file(directory).unlink(missing_ok=True)
    if _record_file(directory).is_file() and directory.is_dir():
        return directory
    say(f"relama new {directory.name}")
    began = time.perf_counter()
    options = ["--storage", storage, "--kernels", kernels]
    _relama("new", str(directory), "--model", str(model), "--force", *options)
    written = time.perf_counter() - began
    say(f"relama build {directory.name}")
    began = time.perf_counter()
    built = _relama("build", str(directory))
    record = {
        "storage": storage,
        "new_s": round(written, 2),
        "build_s": round(time.perf_counter() - began, 2),
        "bytes": built["bytes"],
        "rows": built["rows"],
    }
    _record_file(directory).write_text(json.dumps(record))
    return directory


def build_record(directory: Path) -> dict[str, Any]:
    """What building a project took: `new_s`, `build_s`, `bytes`, `rows`."""
    record: dict[str, Any] = json.loads(_record_file(directory).read_text())
    return record


def _record_file(directory: Path) -> Path:
    return directory.with_name(f"{directory.name}.json")


def _relama(*arguments: str) -> dict[str, Any]:
    run = subprocess.run(
        [sys.executable, "-m", "relama", *arguments, "--json"],
        capture_output=True,
        text=True,
        env={**os.environ, "DBT_SEND_ANONYMOUS_USAGE_STATS": "false"},
    )
    if run.returncode:
        lines = run.stderr.strip().splitlines()
        raise BenchmarkError(
            f"relama {arguments[0]} failed: {lines[-1] if lines else run.returncode}"
        )
    result: dict[str, Any] = json.loads(run.stdout)
    return result


def relama_spec(
    model: Path, storage: str, kernels: str, threads: int, say: Say, rebuild: bool
) -> Spec:
    """relama on `model`, its project built."""
    return Spec(
        relama_name(storage, kernels),
        "relama",
        str(relama_project(model, storage, kernels, say, rebuild)),
        str(model),
        quantised=storage != "float32",
        threads=threads,
    )


def relama_name(storage: str, kernels: str) -> str:
    """As it stands in tables and plots, `relama int8, native`."""
    return f"relama {storage}, {KERNELS[kernels]}"


def relama_specs(threads: int, kernels: Sequence[str], say: Say, rebuild: bool) -> list[Spec]:
    """relama on SmolLM2, in every storage, with each of `kernels`."""
    source = variant(Kind.F32, say)
    return [
        relama_spec(source, storage, one, threads, say, rebuild)
        for one in kernels
        for storage in CHOICES
    ]


def synthetic_specs(
    model: Path, storage: str, kernels: Sequence[str], threads: int, say: Say, rebuild: bool
) -> list[Spec]:
    """relama with each of `kernels` on a model of `synthetic`, and llama.cpp on the same file."""
    return [
        *(relama_spec(model, storage, one, threads, say, rebuild) for one in kernels),
        Spec("llama.cpp Q8_0", "llama.cpp", str(model), str(model), True, threads),
    ]


def llama_cpp_specs(threads: int, say: Say) -> list[Spec]:
    """llama.cpp on SmolLM2, as F32, Q8_0 and Q4_0."""
    specs = []
    for kind in (Kind.F32, Kind.Q8_0, Kind.Q4_0):
        path = str(variant(kind, say))
        specs.append(
            Spec(
                f"llama.cpp {kind.name}",
                "llama.cpp",
                path,
                path,
                quantised=kind != Kind.F32,
                threads=threads,
            )
        )
    return specs


def transformers_spec(threads: int, say: Say) -> Spec:
    """transformers on SmolLM2 in float32."""
    path = str(variant(Kind.F32, say))
    return Spec("transformers float32", "transformers", path, path, threads=threads)


def published_specs(threads: int, say: Say) -> list[Spec]:
    """The published layouts on SmolLM2 in float32."""
    source = str(variant(Kind.F32, say))
    layouts: dict[Layout, str] = {
        "chunked": "SQL, chunks joined and grouped",
        "row_to_column": "SQL, chunks as columns",
    }
    return [
        Spec(name, "published", str(published(layout, say)), source, threads=threads, layout=layout)
        for layout, name in layouts.items()
    ]
