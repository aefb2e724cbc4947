"""The README's pictures: light, and readable at the width of a README (about 800 pixels)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

#: relama's lines and bars stand out; everything else keeps to greys and blues.
COLOURS = {
    "relama float32": "#e8927c",
    "relama int8": "#c8452f",
    "relama int4": "#8f2a1b",
    "llama.cpp F32": "#9db8d2",
    "llama.cpp Q8_0": "#3f6fa3",
    "llama.cpp Q4_0": "#1f3f66",
    "transformers float32": "#7a8f6a",
}
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
                    color=COLOURS.get(system["name"], OTHER),
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
                    color=COLOURS.get(system["name"], OTHER),
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
        bars = panel.barh(names, speeds, color=[COLOURS.get(n, OTHER) for n in names])
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
            color=COLOURS.get(system["name"], OTHER),
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
        label="multiply-adds / ceiling",
    )
    left.set_title("seconds per token", fontsize=10)
    left.set_yscale("log")
    left.legend(frameon=False, fontsize=8, loc="center right", bbox_to_anchor=(1, 0.6))
    storage = models[0]["build"]["storage"]
    built = [model["build"]["new_s"] + model["build"]["build_s"] for model in models]
    right.plot(x, built, marker="o", linewidth=2, color=COLOURS.get(f"relama {storage}", OTHER))
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


def rows(result: dict[str, Any], path: Path) -> None:
    """Seconds a row, a panel a table of prompts: what batches and a shared beginning gain."""
    plt = _pyplot()
    settings = result["settings"]
    panels = {
        f"{settings['prompt_tokens']} tokens and {settings['new_tokens']} new ones": {
            "one at a time": "one_at_a_time",
            "batches of 16": "batches_of_16",
            "batches of 32": "batches_of_32",
        },
        f"after {settings['instruction_tokens']} tokens that all share": {
            "read in every row": "instruction_not_shared",
            "read once": "shared_instruction",
        },
    }
    figure, axes = plt.subplots(1, len(panels), figsize=(WIDTH_INCHES, 1.9))
    for axis, (title, cases) in zip(axes, panels.items(), strict=True):
        seconds = [result["cases"][case]["seconds_a_row"] for case in cases.values()]
        bars = axis.barh(
            [*cases],
            seconds,
            color=[OTHER, *[COLOURS[f"relama {settings['storage']}"]] * (len(cases) - 1)],
        )
        axis.bar_label(bars, labels=[f" {value:.1f} s" for value in seconds], fontsize=8)
        axis.set_xlim(0, max(seconds) * 1.2)
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("seconds per row")
        axis.invert_yaxis()
    _save(figure, path)


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
