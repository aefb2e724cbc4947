"""The README's pictures: light, and readable at the width of a README (about 800 pixels)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.report import rows_systems

#: relama's lines and bars stand out; everything else keeps to greys and blues.
COLOURS = {
    "relama float32": "#e8927c",
    "relama int8": "#c8452f",
    "relama int4": "#8f2a1b",
    "llama.cpp F32": "#9db8d2",
    "llama.cpp Q8_0": "#3f6fa3",
    "llama.cpp Q8_0, no mmap": "#8a8a8a",
    "llama.cpp Q4_0": "#1f3f66",
    "llama.cpp Q4_1": "#1f3f66",
    "transformers float32": "#7a8f6a",
}
#: relama without native kernels, in any storage.
SQL = "#e6c8bf"
OTHER = "#9a9a9a"

WIDTH_INCHES, DOTS_AN_INCH = 8.0, 200


def memory(result: dict[str, Any], path: Path) -> None:
    """Seconds a token against the memory limit, a panel a disk."""
    plt = _pyplot()
    rates = list(
        dict.fromkeys(
            point["read_rate"] for system in result["systems"] for point in system["points"]
        )
    )
    figure, panels = plt.subplots(
        1, len(rates), figsize=(WIDTH_INCHES, 3.7), sharey=True, squeeze=False
    )
    disk = result["machine"]["disk_bytes_per_s"] / 1e6
    for panel, rate in zip(panels[0], rates, strict=True):
        for system in result["systems"]:
            points = sorted(
                (point["fraction"], point["median_s"])
                for point in system["points"]
                if point["read_rate"] == rate and "median_s" in point
            )
            if points:
                panel.plot(
                    *zip(*points, strict=True),
                    marker="o",
                    label=system["name"],
                    color=_colour(system["name"]),
                    linewidth=2,
                )
            failed = [
                point["fraction"]
                for point in system["points"]
                if point["read_rate"] == rate and "median_s" not in point
            ]
            if failed:
                panel.plot(
                    failed,
                    [0.97] * len(failed),
                    "x",
                    color=_colour(system["name"]),
                    label=f"{system['name']}: no result",
                    transform=panel.get_xaxis_transform(),
                )
        panel.axvline(1.0, color="#666666", linestyle="--", linewidth=0.8)
        panel.set_title(
            f"disk throttled to {rate / 1e6:.0f} MB/s"
            if rate
            else f"the disk's own speed ({disk:,.0f} MB/s)",
            fontsize=10,
        )
        panel.set_xlabel("memory limit, as a part of the model")
        panel.set_yscale("log")
        panel.invert_xaxis()
        panel.grid(True, which="both", alpha=0.25)
    panels[0][0].set_ylabel("seconds per token")
    for panel in panels[0]:
        panel.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        panel.legend(frameon=False, fontsize=8)
    figure.suptitle(
        f"A Llama of {result['model_bytes'] / 1e9:.1f} GB in less and less memory", fontsize=12
    )
    _save(figure, path)


def tokens(result: dict[str, Any], path: Path) -> None:
    """Tokens a second of every system, a panel a measure."""
    plt = _pyplot()
    systems = result["systems"][::-1]
    measures = list(systems[0]["measures"])
    wanted = [name for name in ("prefill_37", "decode_256") if name in measures]
    shown = wanted if len(wanted) == 2 else measures[:2]
    figure, panels = plt.subplots(
        1, len(shown), figsize=(WIDTH_INCHES, 0.36 * len(systems) + 1.2), sharey=True, squeeze=False
    )
    for panel, name in zip(panels[0], shown, strict=True):
        speeds = [system["measures"][name]["tokens_per_s"] for system in systems]
        names = [system["name"] for system in systems]
        bars = panel.barh(names, speeds, color=[_colour(name) for name in names])
        panel.bar_label(
            bars,
            labels=[f" {speed:,.3g}" if speed < 1000 else f" {speed:,.0f}" for speed in speeds],
            fontsize=8,
        )
        panel.set_xscale("log")
        panel.set_xlim(min(speeds) / 2, max(speeds) * 6)
        kind, count = name.split("_")
        panel.set_title(
            f"prefill of {count} tokens" if kind == "prefill" else f"decode at {count} positions",
            fontsize=10,
        )
        panel.set_xlabel("tokens per second (log)")
        panel.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    _save(figure, path)


def scale(result: dict[str, Any], path: Path) -> None:
    """Seconds a token and build time against the number of weights."""
    plt = _pyplot()
    models = result["models"]
    x = [model["multiply_adds"] / 1e9 for model in models]
    figure, (left, right) = plt.subplots(1, 2, figsize=(WIDTH_INCHES, 3.7))
    for number, system in enumerate(models[0]["systems"]):
        y = [model["systems"][number]["median_s"] for model in models]
        left.plot(
            x,
            y,
            marker="o",
            linewidth=2,
            label=system["name"],
            color=_colour(system["name"]),
        )
    left.plot(
        x,
        [model["bandwidth_bound_s"] for model in models],
        color="#555555",
        linestyle="--",
        linewidth=1,
        label="stored bytes / bandwidth",
    )
    left.plot(
        x,
        [model["multiply_add_bound_s"] for model in models],
        color="#555555",
        linestyle=":",
        linewidth=1.4,
        label="multiply-adds / SQL's rate",
    )
    left.set_title("seconds per token", fontsize=10)
    left.set_yscale("log")
    left.legend(frameon=False, fontsize=8, loc="center right", bbox_to_anchor=(1, 0.6))
    storage = models[0]["build"]["storage"]
    built = [model["build"]["new_s"] + model["build"]["build_s"] for model in models]
    right.plot(x, built, marker="o", linewidth=2, color=_colour(f"relama {storage}"))
    right.set_title(f"seconds to write and build ({storage})", fontsize=10)
    right.set_ylim(bottom=0)
    for panel in (left, right):
        panel.set_xscale("log")
        panel.set_xticks(x, [model["size"] for model in models])
        panel.minorticks_off()
        panel.set_xlabel("parameters")
        panel.grid(True, alpha=0.25)
    left.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    _save(figure, path)


def experts(result: dict[str, Any], path: Path) -> None:
    """Seconds a token of a mixture and of dense models, a panel for each kernels."""
    plt = _pyplot()
    systems = result["systems"]
    kernels = list(dict.fromkeys(system["kernels"] for system in systems))
    figure, axes = plt.subplots(
        1, len(kernels), figsize=(WIDTH_INCHES, 1.9), sharey=True, squeeze=False
    )
    for axis, one in zip(axes[0], kernels, strict=True):
        shown = {s["name"]: s["median_s"] for s in systems if s["kernels"] == one}
        colours = [COLOURS["relama int8"] if "experts" in name else OTHER for name in shown]
        bars = axis.barh([*shown], [*shown.values()], color=colours)
        axis.bar_label(bars, labels=[f" {value:.3f} s" for value in shown.values()], fontsize=8)
        axis.set_title({"native": "native kernels", "sql": "SQL"}[one], fontsize=10)
        axis.set_xlabel("seconds per token")
        axis.margins(x=0.25)
    axes[0][0].invert_yaxis()
    _save(figure, path)


def rows(result: dict[str, Any], path: Path) -> None:
    """Seconds a row, a panel a table of prompts: what batches and a shared beginning gain."""
    plt = _pyplot()
    settings, systems = result["settings"], rows_systems(result)
    panels = {
        f"{settings['prompt_tokens']} tokens and {settings['new_tokens']} new ones": {
            "one_at_a_time": "one at a time",
            "batches_of_16": "batches of 16",
            "batches_of_32": "batches of 32",
        },
        f"after {settings['instruction_tokens']} tokens that all share": {
            "instruction_not_shared": "read in every row",
            "shared_instruction": "read once",
        },
    }
    shown = [
        {
            f"{system['name']}, {text}": system["cases"][case]["seconds_a_row"]
            for case, text in words.items()
            for system in systems
            if case in system["cases"]
        }
        for words in panels.values()
    ]
    counts = [len(seconds) for seconds in shown]
    figure, axes = plt.subplots(
        len(panels),
        1,
        figsize=(WIDTH_INCHES, 0.27 * sum(counts) + 1.6),
        sharex=True,
        height_ratios=counts,
    )
    for axis, title, seconds in zip(axes, panels, shown, strict=True):
        bars = axis.barh([*seconds], [*seconds.values()], color=[_colour(name) for name in seconds])
        axis.bar_label(bars, labels=[f" {value:.2g} s" for value in seconds.values()], fontsize=8)
        axis.set_xscale("log")
        axis.set_title(title, fontsize=10)
        axis.invert_yaxis()
        axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axis.margins(x=0.15)
    axes[-1].set_xlabel("seconds per row (log)")
    _save(figure, path)


def _colour(name: str) -> str:
    """The colour of a system; what follows a comma tells its kernels, sequences or case."""
    system, *more = name.split(", ")
    if "SQL" in more:
        return SQL
    return COLOURS.get(name) or COLOURS.get(system, OTHER)


def _pyplot() -> Any:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    pyplot.style.use("default")
    pyplot.rcParams.update(
        {
            "font.size": 9,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "figure.facecolor": "white",
            "axes.facecolor": "white",
        }
    )
    return pyplot


def _save(figure: Any, path: Path) -> None:
    figure.tight_layout()
    figure.savefig(path, dpi=DOTS_AN_INCH, facecolor="white")
    _pyplot().close(figure)
