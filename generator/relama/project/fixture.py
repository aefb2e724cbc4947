"""Regenerates what this repository's own dbt project holds of the tiny fixture checkpoint.

The top level of the repository is the project that `relama new` would write for
`tests/fixtures/tiny_llama`: its generated files are checked in, so that a reader
sees real output and a change of the generator shows as a difference.

    python -m relama.project.fixture            # writes them
    python -m relama.project.fixture --check    # exit code 1 if one is out of date
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import pyarrow.parquet as pq

from relama.checkpoint import Checkpoint, open_checkpoint
from relama.project.macro_docs import macro_docs
from relama.project.render import write
from relama.project.writer import macros_directory, write_project
from relama.reference import forward
from relama.runtime import answer_form, chat_jinja, job_settings, pattern, token_transitions

CHECKPOINT = Path("tests", "fixtures", "tiny_llama")

#: The prompt of `dbt_project.yml`, and how many tokens the reference continues it by.
PROMPT = (1, 2, 3, 4, 5, 6, 7, 8)
STEPS = 24

#: Macros with the text of the Python module of the same name, and what that text does.
PYTHON_MACROS = {
    Path("macros", "rows", "chat_jinja.sql"): (
        chat_jinja,
        "The Python that renders chat templates, see `_render_chat`",
    ),
    Path("macros", "rows", "job_settings.sql"): (
        job_settings,
        "The Python that reads what a job is given, see `_python_job`",
    ),
    Path("macros", "rows", "pattern.sql"): (
        pattern,
        "The Python that reads regular expressions, see `_read_form`",
    ),
    Path("macros", "rows", "answer_form.sql"): (
        answer_form,
        "The Python that reads schemas, see `_read_form`; `_pattern` stands before it",
    ),
    Path("macros", "rows", "token_transitions.sql"): (
        token_transitions,
        "The Python that makes transitions over tokens, see `_compile_form`",
    ),
}

#: What dbt is told of the public macros, from the comments above them.
MACRO_DOCS = Path("macros", "_macros.yml")

#: What is generated. All else in `models/`, `macros/` and `seeds/` is written by hand.
GENERATED = (
    Path("models", "weights"),
    Path("models", "layers"),
    Path("models", "state"),
    Path("models", "_sources.yml"),
    Path("models", "_exposures.yml"),
    Path("models", "_overview.md"),
    *PYTHON_MACROS,
    MACRO_DOCS,
    Path("analyses"),
    Path("seeds", "_seeds.yml"),
    Path("seeds", "greedy_reference.csv"),
    Path("seeds", "sampling.csv"),
    Path("weights"),
)


def write_fixture(root: Path) -> None:
    """Replaces the generated files of the repository at `root`."""
    with tempfile.TemporaryDirectory(prefix=".relama-", dir=root) as temporary:
        fresh = _generate(root, Path(temporary))
        for place in GENERATED:
            _remove(root / place)
            (root / place).parent.mkdir(parents=True, exist_ok=True)
            (fresh / place).rename(root / place)


def differences(root: Path) -> list[str]:
    """One line for each generated file of the repository at `root` that is out of date.

    Text is compared exactly. Parquet files are compared by schema and content:
    their bytes depend on the version of pyarrow.
    """
    with tempfile.TemporaryDirectory(prefix="relama-") as temporary:
        fresh = _generate(root, Path(temporary))
        expected, actual = _files(fresh), _files(root)
        lines = [f"{path}: missing" for path in expected - actual]
        lines += [f"{path}: not generated" for path in actual - expected]
        lines += [
            f"{path}: differs"
            for path in expected & actual
            if not _equal(fresh / path, root / path)
        ]
    return sorted(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m relama.project.fixture")
    parser.add_argument("--check", action="store_true", help="write nothing; name what differs")
    parser.add_argument(
        "--root",
        type=Path,
        default=Path(__file__).parents[3],
        help="the repository (default: the one that this file is in)",
    )
    options = parser.parse_args(arguments)
    if not options.check:
        write_fixture(options.root)
        return 0
    lines = differences(options.root)
    for line in lines:
        print(line, file=sys.stderr)
    if lines:
        print("Regenerate them with: python -m relama.project.fixture", file=sys.stderr)
    return 1 if lines else 0


def _generate(root: Path, temporary: Path) -> Path:
    """The fixture's project, as `relama new` writes it."""
    checkpoint = open_checkpoint(root / CHECKPOINT)
    project = temporary / "tiny_llama"
    write_project(project, checkpoint, name="relama")
    (project / "seeds" / "greedy_reference.csv").write_text(_greedy_reference(checkpoint))
    for place, (module, summary) in PYTHON_MACROS.items():
        write(project / place, _python_macro(module, summary))
    write(project / MACRO_DOCS, macro_docs(macros_directory()))
    return project


def _greedy_reference(checkpoint: Checkpoint) -> str:
    """The prompt and its most likely continuation by the oracle in numpy, as CSV."""
    token_ids = list(PROMPT)
    for _ in range(STEPS):
        logits = forward(checkpoint.config, checkpoint.tensors, token_ids).logits
        token_ids.append(int(logits[-1].argmax()))
    rows = [f"{position},{token_id}\n" for position, token_id in enumerate(token_ids)]
    return "position,token_id\n" + "".join(rows)


def _python_macro(module: ModuleType, summary: str) -> str:
    """The macro that holds the Python of a module, without what it imports from relama."""
    place = Path(str(module.__file__))
    source = re.sub(
        r"^from relama[.].* import \([^)]*\)\n\n?",
        "",
        place.read_text(encoding="utf-8"),
        flags=re.M,
    )
    return (
        f"{{#\n    {summary}: a copy of\n    generator/relama/runtime/{place.name}, "
        f"written by `make generate`.\n#}}\n"
        f"{{% macro _{place.stem}() -%}}\n{{% raw %}}{source}{{% endraw %}}\n{{%- endmacro %}}\n"
    )


def _files(root: Path) -> set[Path]:
    """The generated files below `root`, relative to it."""
    files = set()
    for place in GENERATED:
        path = root / place
        found = path.rglob("*") if path.is_dir() else [path]
        files |= {file.relative_to(root) for file in found if file.is_file()}
    return files


def _equal(a: Path, b: Path) -> bool:
    if a.suffix != ".parquet":
        return a.read_bytes() == b.read_bytes()
    return bool(pq.read_table(a).equals(pq.read_table(b)))


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main())
