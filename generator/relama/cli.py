"""The command `relama`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table

from relama import __version__
from relama.console import (
    Command,
    argument_text,
    bar,
    file_text,
    notes,
    read_line,
    report_errors,
    stream_text,
    waiting,
)
from relama.errors import InputError
from relama.passes import PASSES
from relama.storage import CHOICES
from relama.targets import DEFAULT, TARGETS, target_named

if TYPE_CHECKING:
    from relama.project.manifest import Project


def _prints(as_json: bool, result: dict[str, Any]) -> None:
    if as_json:
        click.echo(json.dumps(result, ensure_ascii=False))


def _print_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    table = Table(*header)
    for row in rows:
        table.add_row(*row)
    Console().print(table)


def _load(directory: Path) -> Project:
    """The project, and a warning where its profile keeps native kernels from it."""
    from relama.project.manifest import load_project
    from relama.runtime.database import kernels_are_kept_out

    project = load_project(directory)
    if kernels_are_kept_out(project):
        click.echo(
            "Warning: arithmetic is SQL, many times slower than the project's native kernels. For "
            "them, add config_options: {allow_unsigned_extensions: true} to the target in "
            "profiles.yml; or set the variable relama_kernels to false.",
            err=True,
        )
    return project


def _shown(as_json: bool) -> Callable[[str], None]:
    """What is done with text as it comes: nothing where all of it is printed at the end."""
    return (lambda text: None) if as_json else stream_text


_DIRECTORY = click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
_PROMPT = click.argument("prompt", metavar="PROMPT")
_JSON = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object on standard output."
)
_MODEL = click.option(
    "--model",
    "model",
    required=True,
    metavar="PATH",
    type=click.Path(path_type=Path),
    help="A Hugging Face directory or a GGUF file.",
)
_MEMORY_LIMIT = click.option(
    "--memory-limit",
    metavar="SIZE",
    help="Keep the process under SIZE of memory, e.g. 1500MB; see relama plan.",
)
_TEMPLATE_ARGS = click.option(
    "--template-arg",
    "template_args",
    multiple=True,
    metavar="NAME=VALUE",
    help="Argument of the chat template, e.g. enable_thinking=false; repeatable.",
)


def _sampling_options(command: Command) -> Command:
    options = (
        click.option(
            "--max-tokens",
            "max_new_tokens",
            type=int,
            metavar="N",
            help="Generate at most N tokens.",
        ),
        click.option("--temperature", type=float, help="0 takes the most likely token."),
        click.option("--top-k", type=int, help="Keep the K most likely tokens; 0 keeps all."),
        click.option("--top-p", type=float, help="Keep the tokens that reach this probability."),
        click.option("--seed", type=int, help="The same seed gives the same text."),
        click.option("--stop", multiple=True, metavar="TEXT", help="End at TEXT; repeatable."),
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="relama")
def main() -> None:
    """Compiles a language model into a dbt project and runs it in the database."""


@main.command()
@_DIRECTORY
@_MODEL
@click.option("--name", metavar="NAME", help="dbt's name of the project; by default DIR's.")
@click.option("--trace", is_flag=True, help="Make every activation a table that can be queried.")
@click.option(
    "--target",
    "target_name",
    type=click.Choice(list(TARGETS)),
    default=DEFAULT.name,
    show_default=True,
    help="The database that the project is for.",
)
@click.option(
    "--storage",
    type=click.Choice(CHOICES),
    help="How weights are stored: exactly, or rounded to fewer bits. "
    + "; ".join(f"{name}: {', '.join(target.storages)}" for name, target in TARGETS.items())
    + "; the first of a target is its default.",
)
@click.option(
    "--kernels",
    type=click.Choice(["auto", "native", "sql"]),
    default="auto",
    show_default=True,
    help="What does the arithmetic: native functions, SQL, or (auto) native ones if built.",
)
@click.option(
    "--disable-pass",
    "disabled",
    multiple=True,
    metavar="PASS",
    help=f"Leave a pass out; repeatable. Passes: {', '.join(PASSES)}.",
)
@click.option(
    "--tokenizer-pre",
    metavar="NAME",
    help="How text is split into words, where a GGUF file does not say: llama-bpe, smollm, ...",
)
@click.option("--force", is_flag=True, help="Replace a project that relama wrote.")
@_JSON
@report_errors
def new(
    directory: Path,
    model: Path,
    name: str | None,
    trace: bool,
    target_name: str,
    storage: str | None,
    kernels: str,
    disabled: tuple[str, ...],
    tokenizer_pre: str | None,
    force: bool,
    as_json: bool,
) -> None:
    """Read a checkpoint and write a complete dbt project to DIR."""
    from relama.checkpoint import open_checkpoint
    from relama.kernels import chosen as chosen_kernels
    from relama.project.manifest import checked_name
    from relama.project.writer import write_project

    if name is not None:
        name = checked_name(name)
    warnings: list[str] = []
    target = target_named(target_name)
    storage = target.checked_storage(storage)
    if kernels == "native" and not target.has_kernels:
        raise InputError(f"The native kernels are DuckDB's; {target.title} computes in SQL.")
    file = chosen_kernels(kernels) if target.has_kernels else None
    if kernels == "auto" and file is None and target.has_kernels:
        warnings.append(
            "The native kernels are not built, so the project computes in SQL, which is several "
            "times slower; to have them: python -m relama.kernels.build, then relama new --force."
        )
    with bar("Staging weights", hidden=as_json) as move:
        project = write_project(
            directory,
            open_checkpoint(model, tokenizer_pre),
            name=name,
            trace=trace,
            storage=storage,
            target=target,
            kernels=file,
            disabled_passes=disabled,
            overwrite=force,
            on_start=lambda total: move(total=total),
            on_progress=move,
            on_warning=warnings.append,
        )
    for sentence in warnings:
        click.echo(f"Warning: {sentence}", err=True)
    result = {"directory": str(directory), "project": project.name, "warnings": warnings}
    _prints(as_json, result)
    if not as_json:
        click.echo(f"Wrote the dbt project '{project.name}' to {directory}.")
        if target.is_loaded:
            click.echo(f"Next: check profiles.yml in it, then: relama load {directory}")
        else:
            click.echo(f"Next: relama build {directory}   (or: cd {directory} && dbt build)")


@main.command()
@_DIRECTORY
@_JSON
@report_errors
def load(directory: Path, as_json: bool) -> None:
    """Load the staged weights into the database of a target that is a server.

    Each table is loaded whole and verified, or not at all. What is there already stays, so an
    interrupted load goes on where it was.
    """
    from relama.project.manifest import load_project
    from relama.runtime.load import load_weights

    project = load_project(directory)
    with bar("Loading weights", hidden=as_json) as move:
        result = load_weights(project, move)
    _prints(as_json, result)
    if not as_json:
        click.echo(
            f"Loaded {result['loaded']} tables, {result['bytes'] / 1e6:,.0f} MB, in "
            f"{result['seconds']:.1f} s; {result['kept']} were there."
        )
        click.echo(f"Next: relama build {directory}   (or: cd {directory} && dbt build)")


@main.command()
@_DIRECTORY
@click.option("--full-refresh", is_flag=True, help="Build again what is up to date.")
@_JSON
@report_errors
def build(directory: Path, full_refresh: bool, as_json: bool) -> None:
    """Run `dbt build`: weights as tables, state, tests, and a first step."""
    from relama.project.manifest import load_project
    from relama.runtime.build import build_project

    project = load_project(directory)
    with bar("Parsing the project", unit="nodes", hidden=as_json) as move:
        result = build_project(project, again=full_refresh, on_progress=move)
    _prints(as_json, result)
    if not as_json:
        if result["already_built"]:
            click.echo(f"{directory} is up to date; --full-refresh builds it again.")
        else:
            click.echo(
                f"Built {result['nodes']} nodes in {result['seconds']:.1f} s: "
                f"{result['rows']:,} rows, {result['bytes'] / 1e6:,.0f} MB."
            )


@main.command()
@_DIRECTORY
@_PROMPT
@_sampling_options
@click.option("--chat", is_flag=True, help="Render PROMPT with the model's chat template.")
@click.option("--system", metavar="TEXT", help="System message; implies --chat.")
@_TEMPLATE_ARGS
@click.option(
    "--engine", type=click.Choice(["session", "dbt"]), default="session", show_default=True
)
@_MEMORY_LIMIT
@_JSON
@report_errors
def generate(
    directory: Path,
    prompt: str,
    chat: bool,
    system: str | None,
    template_args: tuple[str, ...],
    engine: str,
    memory_limit: str | None,
    as_json: bool,
    **sampling: Any,
) -> None:
    """Continue PROMPT (`-` reads standard input)."""
    from relama.runtime.chat_template import read_template_args
    from relama.runtime.memory import memory_limit as limit_of
    from relama.runtime.session import chosen_settings, complete

    project = _load(directory)
    generation = complete(
        project,
        argument_text(prompt),
        chosen_settings(project, sampling),
        chat=chat,
        system=system,
        template_args=read_template_args(template_args),
        engine=engine,
        memory_limit=limit_of(project, memory_limit),
        on_text=_shown(as_json),
    )
    _prints(as_json, generation.as_json())
    if not as_json:
        click.echo()
        speed = generation.seconds_per_token
        notes.print(
            f"[dim]{len(generation.ids)} tokens, prefill {generation.prefill_s:.2f} s"
            + (f", {speed:.2f} s per token" if speed else "")
            + f" ({generation.finish_reason})[/dim]"
        )


@main.command()
@_DIRECTORY
@click.option(
    "--memory-limit",
    metavar="SIZE",
    help="Memory of the process, e.g. 1500MB; by default what the machine has available.",
)
@click.option(
    "--disk-speed", type=float, metavar="MB/S", help="Megabytes per second; measured by default."
)
@_JSON
@report_errors
def plan(
    directory: Path, memory_limit: str | None, disk_speed: float | None, as_json: bool
) -> None:
    """Show which weights a memory limit keeps in memory and which it streams from disk.

    Nothing is generated. The seconds per token are a lower bound: the slower one of reading
    the streamed weights and multiplying all of them, at speeds measured on this machine.
    """
    from relama.project.manifest import load_project
    from relama.runtime.memory import forecast
    from relama.runtime.memory import memory_limit as limit_of

    project = load_project(directory)
    project.target.check_memory_limit()
    limit = limit_of(project, memory_limit)
    with waiting("Measuring", as_json):
        result = forecast(project, limit, None if disk_speed is None else disk_speed * 1e6)
    _prints(as_json, result.as_json())
    if not as_json:
        _print_table(("weights", "in memory", "", "streamed", ""), result.rows())
        for sentence in result.sentences():
            click.echo(sentence)


@main.command()
@_DIRECTORY
@_sampling_options
@click.option("--system", metavar="TEXT", help="System message.")
@_TEMPLATE_ARGS
@_MEMORY_LIMIT
@_JSON
@report_errors
def chat(
    directory: Path,
    system: str | None,
    template_args: tuple[str, ...],
    memory_limit: str | None,
    as_json: bool,
    **sampling: Any,
) -> None:
    """Converse; the KV cache is kept from turn to turn. End with Ctrl-D or /exit."""
    from relama.runtime.chat_template import read_template_args
    from relama.runtime.memory import memory_limit as limit_of
    from relama.runtime.session import chosen_settings, conversation

    project = _load(directory)
    settings, limit = chosen_settings(project, sampling), limit_of(project, memory_limit)
    with conversation(
        project,
        settings,
        system=system,
        template_args=read_template_args(template_args),
        memory_limit=limit,
    ) as opened:
        while (line := read_line(as_json)) is not None:
            if line:
                opened.answer(line, _shown(as_json))
                if not as_json:
                    click.echo("\n")
    _prints(as_json, opened.as_json())


@main.command()
@_DIRECTORY
@_PROMPT
@click.option("--top", type=int, default=10, show_default=True, metavar="K")
@_JSON
@report_errors
def logits(directory: Path, prompt: str, top: int, as_json: bool) -> None:
    """Show the K best next tokens after PROMPT."""
    from relama.runtime.session import top_logits
    from relama.runtime.tokenizer import ProjectTokenizer

    project = _load(directory)
    tokenizer = ProjectTokenizer(directory)
    prompt_ids = tokenizer.encode(argument_text(prompt))
    with waiting("Computing logits", as_json):
        candidates = top_logits(project, prompt_ids, top)
    best = [
        {"id": c.id, "token": tokenizer.token(c.id), "logit": c.logit, "logprob": c.logprob}
        for c in candidates
    ]
    _prints(as_json, {"prompt_ids": prompt_ids, "top": best})
    if not as_json:
        rows = [
            (
                str(c.id),
                json.dumps(b["token"], ensure_ascii=False),
                f"{c.logit:.5f}",
                f"{c.logprob:.5f}",
            )
            for b, c in zip(best, candidates, strict=True)
        ]
        _print_table(("id", "token", "logit", "logprob"), rows)


@main.command()
@_DIRECTORY
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path, allow_dash=True))
@click.option("--max-tokens", type=int, metavar="N", help="Score the first N tokens.")
@_MEMORY_LIMIT
@_JSON
@report_errors
def perplexity(
    directory: Path, file: Path, max_tokens: int | None, memory_limit: str | None, as_json: bool
) -> None:
    """Score FILE: negative log-likelihood and perplexity, computed in SQL."""
    from relama.runtime.memory import memory_limit as limit_of
    from relama.runtime.session import negative_log_likelihood
    from relama.runtime.session import perplexity as of
    from relama.runtime.tokenizer import ProjectTokenizer

    project = _load(directory)
    text = argument_text("-") if str(file) == "-" else file_text(file)
    if max_tokens is not None and max_tokens < 2:
        raise InputError(f"max-tokens must be at least 2, not {max_tokens}.")
    token_ids = ProjectTokenizer(directory).encode(text)[:max_tokens]
    with bar("Scoring", unit="tokens", hidden=as_json) as move:
        move(total=len(token_ids), advance=1)
        limit = limit_of(project, memory_limit)
        nll = negative_log_likelihood(project, token_ids, move, limit)
    result = {"tokens": len(token_ids), "nll": nll, "perplexity": of(nll, len(token_ids))}
    _prints(as_json, result)
    if not as_json:
        click.echo(
            f"{result['tokens']} tokens, negative log-likelihood {nll:.4f}, "
            f"perplexity {result['perplexity']:.4f}"
        )


@main.command()
@_DIRECTORY
@_MODEL
@click.option("--prompt", default="Once upon a time", show_default=True, metavar="TEXT")
@click.option("--tolerance", default=1e-3, show_default=True, help="Relative to the largest value.")
@_JSON
@report_errors
def compare(directory: Path, model: Path, prompt: str, tolerance: float, as_json: bool) -> None:
    """Compare hidden states, layer by layer, with a numpy reference."""
    from relama.checkpoint import open_checkpoint
    from relama.runtime.compare import compare as run
    from relama.runtime.compare import first_over
    from relama.runtime.tokenizer import ProjectTokenizer

    project = _load(directory)
    token_ids = ProjectTokenizer(directory).encode(argument_text(prompt))
    with waiting("Comparing", as_json):
        differences = run(project, open_checkpoint(model), token_ids)
    over = first_over(differences, tolerance)
    result = {
        "prompt_ids": token_ids,
        "tolerance": tolerance,
        "layers": [asdict(difference) for difference in differences],
        "first_over_tolerance": over,
    }
    _prints(as_json, result)
    if not as_json:
        rows = [
            (d.model, f"{d.largest:.2e}", f"{d.relative:.2e}", f"{d.norm:.4f}") for d in differences
        ]
        _print_table(("model", "largest difference", "relative", "norm"), rows)
        click.echo(
            f"First over the tolerance of {tolerance:g}: {over}"
            if over
            else f"All within the tolerance of {tolerance:g}."
        )
    if over:
        sys.exit(1)


@main.command()
@_DIRECTORY
@_JSON
@report_errors
def docs(directory: Path, as_json: bool) -> None:
    """Generate dbt's documentation as one HTML file."""
    from relama.project.manifest import load_project
    from relama.runtime.docs import write_docs

    project = load_project(directory)
    with waiting("Generating the documentation", as_json):
        page = write_docs(project)
    _prints(as_json, {"file": str(page)})
    if not as_json:
        click.echo(f"Open {page} in a browser.")
