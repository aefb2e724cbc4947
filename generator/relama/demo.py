"""`make demo`: from a checkpoint to an answer, with what each phase took."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from relama import kernels
from relama.checkpoint import open_checkpoint
from relama.console import bar, report_errors, stream_text
from relama.errors import ProjectError
from relama.project.manifest import Project, load_project
from relama.project.writer import write_project
from relama.runtime.build import build_project
from relama.runtime.session import Settings, complete

QUESTION = "What is the capital of France?"


def run(checkpoint: Path, directory: Path) -> None:
    """Compiles `checkpoint` to `directory` where needed, asks, and prints a summary."""
    console = Console()
    seconds: dict[str, float] = {}

    began = time.perf_counter()
    project = _project(checkpoint, directory)
    seconds["write the dbt project"] = time.perf_counter() - began

    with bar("Parsing the project", unit="nodes") as move:
        built = build_project(project, again=False, on_progress=move)
    seconds["dbt build"] = built["seconds"]

    console.print(f"\n[bold]{QUESTION}[/bold]")
    answer = complete(project, QUESTION, Settings(), chat=True, on_text=stream_text)
    print()
    seconds["open the session"] = answer.compile_s
    seconds[f"prefill, {len(answer.prompt_ids)} tokens"] = answer.prefill_s
    seconds[f"decode, {len(answer.decode_s)} tokens"] = sum(answer.decode_s)

    table = Table(title="", show_header=False)
    for phase, value in seconds.items():
        table.add_row(phase, f"{value:.2f} s")
    if answer.seconds_per_token:
        table.add_row("per token", f"{answer.seconds_per_token:.2f} s")
    table.add_row("stored", f"{built['rows']:,} rows, {built['bytes'] / 1e6:,.0f} MB")
    console.print(table)
    console.print(
        "Try next:\n"
        f"  .venv/bin/relama chat {directory}\n"
        f"  .venv/bin/relama logits {directory} 'The capital of France is'\n"
        f"  .venv/bin/relama docs {directory}        (the lineage graph)\n"
        f"  cd {directory} && ../../.venv/bin/dbt run --select tag:step   (one more token)",
        highlight=False,
        soft_wrap=True,
    )


def _project(checkpoint: Path, directory: Path) -> Project:
    """The project, written anew only where there is none of this checkpoint."""
    try:
        project = load_project(directory)
        if project.source == str(checkpoint.resolve()):
            return project
    except ProjectError:
        pass
    with bar("Staging weights") as move:
        return write_project(
            directory,
            open_checkpoint(checkpoint),
            kernels=kernels.path(),
            overwrite=True,
            on_start=lambda total: move(total=total),
            on_progress=move,
        )


if __name__ == "__main__":
    report_errors(run)(Path(sys.argv[1]), Path(sys.argv[2]))
