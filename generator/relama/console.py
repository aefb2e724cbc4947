"""What the commands share on a terminal: errors, bars, text in and out."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

import click
import duckdb
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
)

from relama.errors import InputError, RelamaError

Command = Callable[..., None]

#: Everything but results goes to standard error: bars, notes, errors.
notes = Console(stderr=True)


def report_errors(command: Command) -> Command:
    """Prints an error as one sentence and exits with 1; Ctrl-C or SIGTERM exits with 130."""

    @wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> None:
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is signal.SIG_DFL:  # nohup ignores SIGHUP
                signal.signal(number, signal.default_int_handler)
        try:
            command(*args, **kwargs)
        except RelamaError as error:
            click.echo(f"Error: {error}", err=True)
            sys.exit(1)
        except (KeyboardInterrupt, RuntimeError) as error:
            # DuckDB's own reaction to Ctrl-C is a RuntimeError of this text.
            if isinstance(error, RuntimeError) and str(error) != "Query interrupted":
                raise
            click.echo("\nInterrupted.", err=True)
            sys.exit(130)
        except duckdb.Error as error:
            click.echo(f"Error: DuckDB: {str(error).splitlines()[0]}", err=True)
            sys.exit(1)
        except BrokenPipeError:  # `relama ... | head`: click ends quietly
            raise
        except OSError as error:
            click.echo(f"Error: {_reason(error)}.", err=True)
            sys.exit(1)

    return wrapped


def _reason(error: OSError) -> str:
    """The operating system's reason, after the name of the file if it has one."""
    if error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return str(error).partition("\n")[0].rstrip(".")


@contextmanager
def bar(label: str, unit: str = "", hidden: bool = False) -> Iterator[Callable[..., None]]:
    """A progress bar on standard error; yields a function (advance, total=, label=)."""
    count = MofNCompleteColumn() if unit else TaskProgressColumn()
    columns = (TextColumn("{task.description}"), BarColumn(), count, TextColumn(unit))
    with Progress(*columns, TimeElapsedColumn(), console=notes, disable=hidden) as progress:
        task = progress.add_task(label, total=None)

        def move(advance: float = 0, total: float | None = None, label: str | None = None) -> None:
            if total is not None:
                progress.update(task, total=total)
            progress.update(task, advance=advance, description=label)

        try:
            yield move
        except BaseException:
            progress.live.transient = True  # What is said of the error stands alone.
            raise


@contextmanager
def waiting(label: str, hidden: bool) -> Iterator[None]:
    """A spinner for work without a countable progress."""
    if hidden or not notes.is_terminal:
        yield
    else:
        with notes.status(label):
            yield


def stream_text(text: str) -> None:
    """Prints text as it comes."""
    click.echo(text, nl=False)
    sys.stdout.flush()


def argument_text(argument: str) -> str:
    """A prompt from the command line, or verbatim from standard input."""
    data = (
        sys.stdin.buffer.read() if argument == "-" else argument.encode("utf-8", "surrogateescape")
    )
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise InputError("The prompt is not valid UTF-8.") from None


def file_text(path: Path) -> str:
    """The text of a file. Raises `InputError` where it cannot be read or is not UTF-8."""
    try:
        return path.read_bytes().decode("utf-8")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise InputError(f"{path} is not valid UTF-8.") from None


def read_line(as_json: bool) -> str | None:
    """The next message, or None at the end of the conversation."""
    if sys.stdin.isatty() and not as_json:
        notes.print("[bold]>[/bold] ", end="")
    line = sys.stdin.readline()
    if not line or line.strip() == "/exit":
        return None
    return line.rstrip("\n")
