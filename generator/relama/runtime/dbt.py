"""Runs dbt in a project's directory and reads its log events.

dbt runs as a process of its own: it keeps a database connection and global
state that must not outlive a call, and prints where only we may print.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from relama.errors import ProjectError
from relama.project.macros import install_macros
from relama.runtime.profile import profiles_directory
from relama.runtime.stack import deepen_stack

Event = dict[str, Any]


def invoke(
    directory: Path, arguments: Sequence[str], on_event: Callable[[Event], None] = lambda e: None
) -> None:
    """Runs `dbt ARGUMENTS` in `directory`, calling `on_event` for each event of its log.

    An event is a line of dbt's JSON log: `{"info": {"name", "msg", "level"}, "data": {...}}`.

    Raises:
        ProjectError: dbt failed; the message holds its first error.
    """
    program = "from dbt.cli.main import cli; cli()"
    command = [sys.executable, "-c", program, *arguments, "--log-format", "json"]
    environment = dict(os.environ, DBT_SEND_ANONYMOUS_USAGE_STATS="false")
    environment["DBT_PROFILES_DIR"] = str(profiles_directory(directory))
    errors: list[str] = []
    install_macros(directory)
    deepen_stack()
    with subprocess.Popen(
        command,
        cwd=directory,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            try:
                event = json.loads(line)
            except ValueError:
                errors.append(line.strip())
                continue
            if isinstance(event, dict) and "info" in event:
                if event["info"].get("level") == "error":
                    errors.append(str(event["info"].get("msg", "")))
                on_event(event)
    if process.returncode != 0:
        raise ProjectError(
            f"dbt {arguments[0]} failed in {directory}: {_first_error(errors)} "
            f"(the whole log is in {directory / 'logs' / 'dbt.log'})."
        )


def _first_error(errors: Sequence[str]) -> str:
    """The most telling of dbt's errors, on one line."""
    texts = [" ".join(error.split()) for error in errors if error.strip()]
    signs = ("Error in", "Error:", "Failure in")
    telling = [text for sign in signs for text in texts if sign in text]
    text = (telling or texts or ["it gave no reason"])[0]
    if text.startswith("Failure in") and text != texts[-1]:
        text = f"{text}: {texts[texts.index(text) + 1]}"
    return text if len(text) <= 400 else text[:400] + "..."
