"""From the JSON of the suites to the README's tables and plots."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.places import BenchmarkError

Results = Mapping[str, dict[str, Any]]

SUITES = ("inmemory", "memory", "scale", "experts", "rows", "targets")


def load(directory: Path) -> dict[str, dict[str, Any]]:
    """The results in `directory` by suite. Raises `BenchmarkError` where there are none."""
    results = {}
    for suite in SUITES:
        path = directory / f"{suite}.json"
        if path.is_file():
            results[suite] = json.loads(path.read_text())
    if not results:
        raise BenchmarkError(f"{directory} holds no results; run: python -m benchmarks inmemory")
    return results


def failures(results: Results) -> list[str]:
    """One line for each system that does not compute what it should."""
    return [
        f"{suite}: {system['name']}, cosine {system['checked']['cosine']:.6f}, "
        f"{'same' if system['checked']['same_next_token'] else 'different'} next token"
        for suite, result in results.items()
        for system in result.get("systems", [])
        if "checked" in system and not system["checked"]["passed"]
    ]


def markdown(results: Results) -> str:
    """The tables of all suites that there are results of."""
    tables = {
        "inmemory": inmemory_table,
        "memory": memory_table,
        "scale": scale_table,
        "experts": experts_table,
        "rows": rows_table,
        "targets": targets_table,
    }
    parts = []
    for suite, result in results.items():
        parts.append(f"{tables[suite](result)}\n\n{machine_line(result)}")
    return "\n\n".join(parts)


def targets_table(result: dict[str, Any]) -> str:
    """Seconds of every database: loading, building, a prompt, and a token."""
    header = ["seconds", "load", "build", "prompt of 37", "per token at 64", "MB"]
    rows = [
        [
            system["name"],
            *(
                f"{system[name]:.3g}" if name in system else ""
                for name in ("load_s", "build_s", "prefill_s", "decode_s")
            ),
            f"{system['bytes'] / 1e6:,.0f}",
        ]
        for system in result["systems"]
    ]
    return _table(header, rows)


def inmemory_table(result: dict[str, Any]) -> str:
    """Tokens a second of every system, prefill and decode."""
    names = list(result["systems"][0]["measures"])
    header = ["tokens per second", *(_measure(name) for name in names), "check"]
    rows = [
        [
            system["name"],
            *(_measured(system["measures"].get(name)) for name in names),
            _checked(system["checked"]),
        ]
        for system in result["systems"]
    ]
    return _table(header, rows)


def memory_table(result: dict[str, Any]) -> str:
    """Seconds per token by limit, one column per system and disk."""
    columns = [
        (system, rate)
        for rate in _read_rates(result)
        for system in result["systems"]
        if any(point["read_rate"] == rate for point in system["points"])
    ]
    header = ["limit", *(f"{system['name']}, {_disk(rate)}" for system, rate in columns)]
    fractions = sorted(
        {point["fraction"] for system in result["systems"] for point in system["points"]},
        reverse=True,
    )
    rows = []
    for fraction in fractions:
        limit = f"{fraction:g} x ({fraction * result['model_bytes'] / 1e9:.2f} GB)"
        rows.append([limit, *(_point(system, rate, fraction) for system, rate in columns)])
    checks = "; ".join(f"{s['name']}: {_checked(s['checked'])}" for s in result["systems"])
    return f"{_table(header, rows)}\n\nSeconds per token, and the bytes read for it. {checks}."


def scale_table(result: dict[str, Any]) -> str:
    """Seconds per token and build time by size, beside the two bounds."""
    names = [system["name"] for system in result["models"][0]["systems"]]
    header = ["parameters", "stored", "build", *names, "bytes / bandwidth", "products / SQL's rate"]
    rows = [
        [
            model["size"],
            f"{model['build']['bytes'] / 1e9:.2f} GB",
            f"{model['build']['new_s'] + model['build']['build_s']:.0f} s",
            *(f"{system['median_s']:.3f} s" for system in model["systems"]),
            f"{model['bandwidth_bound_s']:.3f} s",
            f"{model['multiply_add_bound_s']:.3f} s",
        ]
        for model in result["models"]
    ]
    return (
        f"{_table(header, rows)}\n\n"
        f"Memory {result['bandwidth_bytes_per_s'] / 1e9:.1f} GB/s, inner product "
        f"{result['multiply_adds_per_s'] / 1e9:.1f} G multiply-adds/s."
    )


def experts_table(result: dict[str, Any]) -> str:
    """Seconds per token of a mixture and of dense models, and their ratio to the mixture's."""
    kernels = list(dict.fromkeys(system["kernels"] for system in result["systems"]))
    medians = {(s["name"], s["kernels"]): s["median_s"] for s in result["systems"]}
    names = list(dict.fromkeys(name for name, _ in medians))
    rows = []
    for name in names:
        cells = [name]
        for one in kernels:
            seconds = medians[name, one]
            cells.append(f"{seconds:.3f} s ({seconds / medians[names[0], one]:.2f})")
        rows.append(cells)
    storage = result["settings"]["storage"]
    return (
        f"{_table(['model', *kernels], rows)}\n\n"
        f"Seconds per token, {storage}, and how many times the mixture's."
    )


def rows_table(result: dict[str, Any]) -> str:
    """Seconds per row of each way to answer a table of prompts, a column a system."""
    systems = rows_systems(result)
    rows = []
    for name, first in systems[0]["cases"].items():
        cases = [system["cases"].get(name) for system in systems]
        seconds = [f"{case['seconds_a_row']:.3g} s" if case else "" for case in cases]
        rows.append([name.replace("_", " "), str(first["rows"]), *seconds])
    header = ["seconds per row", "rows", *(system["name"] for system in systems)]
    return f"{_table(header, rows)}\n\n{rows_line(result)}"


def rows_systems(result: dict[str, Any]) -> list[dict[str, Any]]:
    """The systems of the suite `rows`; before there were several, it was relama in SQL."""
    if "systems" in result:
        return list(result["systems"])
    return [{"name": f"relama {result['settings']['storage']}, SQL", "cases": result["cases"]}]


def rows_line(result: dict[str, Any]) -> str:
    """What the cases are, in one sentence."""
    settings = result["settings"]
    return (
        f"Storage {settings['storage']}; prompts of {settings['prompt_tokens']} tokens and "
        f"{settings['new_tokens']} new ones, and questions after an instruction of "
        f"{settings['instruction_tokens']} tokens and {settings['answer_tokens']} new ones."
    )


def machine_line(result: dict[str, Any]) -> str:
    """What was measured on, in one sentence."""
    machine = result["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    return (
        f"{machine['processor']}, {result['settings']['threads']} threads of "
        f"{machine['cores']} cores, {machine['memory_bytes'] / 1e9:.0f} GB of memory, disk "
        f"{machine['disk_bytes_per_s'] / 1e6:,.0f} MB/s; {versions}; {machine['date'][:10]}."
    )


def plot(results: Results, images: Path, say: Callable[[str], None]) -> None:
    """Draws a plot a suite to `images`."""
    from benchmarks import plots

    images.mkdir(parents=True, exist_ok=True)
    draw = {
        "memory": ("benchmark_memory.png", plots.memory),
        "inmemory": ("benchmark_tokens.png", plots.tokens),
        "scale": ("benchmark_scale.png", plots.scale),
        "experts": ("benchmark_experts.png", plots.experts),
        "rows": ("benchmark_rows.png", plots.rows),
    }
    for suite, result in results.items():
        if suite not in draw:
            continue
        name, function = draw[suite]
        function(result, images / name)
        say(f"wrote {images / name}")


def _read_rates(result: dict[str, Any]) -> list[int | None]:
    points = [point for system in result["systems"] for point in system["points"]]
    return list(dict.fromkeys(point["read_rate"] for point in points))


def _point(system: dict[str, Any], rate: int | None, fraction: float) -> str:
    for point in system["points"]:
        if point["read_rate"] == rate and point["fraction"] == fraction:
            if "median_s" not in point:
                return "failed"
            return f"{point['median_s']:.2f} s, {point['read_bytes'] / 1e6:,.0f} MB"
    return ""


def _disk(rate: int | None) -> str:
    return f"{rate / 1e6:.0f} MB/s" if rate else "own disk"


def _measure(name: str) -> str:
    kind, count = name.split("_")
    return f"{kind} {int(count):,}" if kind == "prefill" else f"{kind} at {int(count):,}"


def _measured(measure: dict[str, Any] | None) -> str:
    return _speed(measure["tokens_per_s"]) if measure else ""


def _speed(tokens_per_s: float) -> str:
    """Three digits.

    >>> _speed(0.4567), _speed(12.345), _speed(1234.5)
    ('0.457', '12.3', '1,234')
    """
    if tokens_per_s >= 100:
        return f"{tokens_per_s:,.0f}"
    return f"{tokens_per_s:.{1 if tokens_per_s >= 10 else 2 if tokens_per_s >= 1 else 3}f}"


def _checked(checked: dict[str, Any]) -> str:
    if not checked["passed"]:
        return f"**failed**, cosine {checked['cosine']:.4f}"
    same = "same token" if checked["same_next_token"] else "other token"
    return f"{same}, cosine {checked['cosine']:.4f}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
