"""Every command that the documentation shows, typed top to bottom in a fresh directory.

A document is read for its commands: the lines of blocks of code that are not in a language,
headings and table cells such as `relama build DIR`, and code within text that has an option.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import pytest

from relama.project.manifest import Project
from tests.conftest import ROOT, TINY_LLAMA

#: Commands that are not run here, and why.
NOT_RUN = {
    r"make ": "downloads a model, or runs this suite",
    r"pip install relama": "installs from the network",
    r"relama COMMAND --help": "a placeholder",
    r"relama new --storage int8$": "part of a command",
    r"relama generate --chat$": "names an option",
    r"relama \w+ warehouse": "needs a server; test_targets.py does it",
    r"relama load": "there is nothing to load for DuckDB; test_targets.py does it",
    r"ulimit -s unlimited": "needs the right to raise the limit",
}
#: What a document calls the things of this test, and what they are here.
INSTEAD = (
    (r"\bPATH\b|\S+\.gguf\b|tests/fixtures/tiny_llama", str(TINY_LLAMA)),
    (r"\bPROMPT\b", "Hello"),
    (r"\bFILE\b", "text"),
    (r"\[504, 3575, 282, 4649, 314\]|\[504, 3575\]|\[\.\.\.\]", "[50, 35]"),
    (r"layer_29__|layer_07__", "layer_01__"),
    # In one line of a document, DIR is new; in the others it is built.
    (r"relama new DIR", "relama new fresh --force"),
    (r"\bDIR\b", "build/smollm2"),
)
_BIN = Path(sys.executable).parent
_PROGRAMS = r"(?:relama|dbt|cd|make|pip|python|ulimit)\b"
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINE = re.compile(rf"^(?:\$ )?({_PROGRAMS}[^#\n]*)", re.MULTILINE)
_TITLE = re.compile(r"^(?:## |\| `)((?:relama) [^`\n|]*)", re.MULTILINE)
_INLINE = re.compile(r"(?<!`)`((?:relama|dbt|ulimit) [^`]*-[^`]*)`(?!`)")


def commands(text: str) -> Iterator[str]:
    """The commands of a document, in its order."""
    found: dict[int, str] = {}
    for block in _BLOCK.finditer(text):
        if block[1] in ("", "sh", "console"):
            lines = _LINE.finditer(block[2])
            found |= {block.start(2) + line.start(1): line[1] for line in lines}
    outside = _BLOCK.sub(lambda block: " " * len(block[0]), text)
    for pattern in (_TITLE, _INLINE):
        found |= {place.start(1): place[1] for place in pattern.finditer(outside)}
    for _, command in sorted(found.items()):
        yield " ".join(command.split())


def type_all(
    text: str, directory: Path, project: Path | None = None, but: Collection[str] = ()
) -> int:
    """Types the commands of a document, each of which must succeed; how many there were.

    relama is typed in `directory`, dbt in `project` or where the document goes; what is in `but`
    is not typed.
    """
    environment = {key: value for key, value in os.environ.items() if not key.startswith("DBT_")}
    environment["PATH"] = f"{_BIN}:{environment['PATH']}"
    environment["DBT_SEND_ANONYMOUS_USAGE_STATS"] = "false"
    typed = []
    where = project or directory
    for command in commands(text):
        if command in but or any(re.match(pattern, command) for pattern in NOT_RUN):
            continue
        for pattern, value in INSTEAD:
            command = re.sub(pattern, value, command)
        if command.startswith("cd "):
            where = directory / command[3:]
            continue
        here = directory if command.startswith("relama") else where
        words = shlex.split(command)
        if (_BIN / words[0]).exists():
            words[0] = str(_BIN / words[0])
        else:
            words = ["bash", "-c", command]
        done = subprocess.run(
            words,
            cwd=here,
            env=environment,
            input="Hi\n",
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        typed.append(command)
    return len(typed)


@pytest.fixture
def fresh(
    tmp_path: Path, built_tiny_project: Project, copy_of: Callable[[Project], Project]
) -> Path:
    """A directory with a built project in `build/smollm2`, and a text."""
    (tmp_path / "build").mkdir()
    copy_of(built_tiny_project).directory.rename(tmp_path / "build" / "smollm2")
    (tmp_path / "text").write_text("Hello Hello Hello")
    return tmp_path


def test_readme(fresh: Path) -> None:
    assert type_all((ROOT / "README.md").read_text(), fresh) > 15


def test_commands(fresh: Path) -> None:
    """Those that the README does not show."""
    text = (ROOT / "docs" / "commands.md").read_text()
    shown = set(commands((ROOT / "README.md").read_text()))
    assert len(list(commands(text))) > 8
    assert type_all(text, fresh, fresh / "build" / "smollm2", but=shown) > 2


def test_the_readme_of_a_project(fresh: Path) -> None:
    """With a profile of another name than the project."""
    directory = fresh / "build" / "smollm2"
    for name in ("dbt_project.yml", "profiles.yml"):
        text = (directory / name).read_text()
        assert "tiny" in text
        text = text.replace('profile: "tiny"', "profile: team")
        (directory / name).write_text(re.sub('^"tiny":', "team:", text))
    assert type_all((directory / "README.md").read_text(), directory) > 5


def test_a_language_model_over_a_table(tmp_path: Path) -> None:
    """In the example's project, with fewer and shorter tickets."""
    text = (ROOT / "docs" / "llm-over-a-table.md").read_text()
    example = ROOT / "examples" / "support_tickets"
    for name in ("dbt_project.yml", "packages.yml", "profiles.yml"):
        shutil.copy(example / name, tmp_path / name)
    (tmp_path / "models" / "answers").mkdir(parents=True)
    for name in ("ticket_summaries", "ticket_topics"):
        (tmp_path / "models" / "answers" / f"{name}.sql").write_text(
            "{{ config(materialized='relama_complete', max_tokens=2) }}\nselect 'Hi' as prompt"
        )
    # "Then `dbt deps`", says a sentence.
    assert "Then `dbt deps`." in text
    text = text.replace("Then `dbt deps`.", "\n```\ndbt deps\n```\n")
    assert type_all(text, tmp_path) > 4


def test_what_is_not_run_is_documented() -> None:
    names = ("README.md", "docs/commands.md", "docs/llm-over-a-table.md")
    found = [c for name in names for c in commands((ROOT / name).read_text())]
    found += commands((ROOT / "generator/relama/project/templates/README.md").read_text())
    for pattern in NOT_RUN:
        assert any(re.match(pattern, command) for command in found), pattern
