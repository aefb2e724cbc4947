"""The suite `rows`: a language model over a table, within `dbt build`."""

from __future__ import annotations

import csv
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from benchmarks import places
from benchmarks.machine import describe
from benchmarks.places import BenchmarkError
from relama.checkpoint import open_checkpoint
from relama.project.writer import write_project

Say = Callable[[str], None]

ROWS = 64
PROMPT_TOKENS = 30
NEW_TOKENS = 20
INSTRUCTION_TOKENS = 200
ANSWER_TOKENS = 5

_WORDS = (
    *("river", "market", "engine", "teacher", "silver", "window", "garden", "history"),
    *("number", "animal", "letter", "music", "winter", "planet", "doctor", "bridge"),
    *("summer", "orange", "castle", "forest", "mirror", "ticket", "system", "report"),
)

#: Models of the project: what they are configured with, which seed they ask, how many rows.
#: The slow ones have fewer; what counts is seconds per row.
CASES = {
    "one_at_a_time": (f"max_tokens={NEW_TOKENS}, batch_size=1, share_prefix=false", "prompts", 8),
    "batches_of_16": (f"max_tokens={NEW_TOKENS}, batch_size=16", "prompts", ROWS),
    "batches_of_32": (f"max_tokens={NEW_TOKENS}, batch_size=32", "prompts", ROWS),
    "shared_instruction": (f"max_tokens={ANSWER_TOKENS}", "instructed", ROWS),
    "instruction_not_shared": (
        f"max_tokens={ANSWER_TOKENS}, share_prefix=false",
        "instructed",
        16,
    ),
}


def run(*, storage: str, quick: bool, threads: int, say: Say) -> dict[str, Any]:
    """Measures rows per second of `relama_complete`, each case a model of one dbt project."""
    directory = places.BUILD / "rows"
    _write(directory, storage, threads, 4 if quick else None, say)
    _dbt(directory, "deps")
    say("building the language model")
    _dbt(directory, "build", "--select", "package:smollm2", "prompts", "instructed")
    cases = {}
    for name, (_, _, rows) in CASES.items():
        seconds = _build(directory, name)
        count = min(rows, 4) if quick else rows
        cases[name] = {"rows": count, "seconds": seconds, "seconds_a_row": seconds / count}
        say(f"{name}: {seconds / count:.2f} s a row")
    return {
        "suite": "rows",
        "machine": describe(places.smollm2()),
        "settings": {
            "storage": storage,
            "threads": threads,
            "prompt_tokens": PROMPT_TOKENS,
            "new_tokens": NEW_TOKENS,
            "instruction_tokens": INSTRUCTION_TOKENS,
            "answer_tokens": ANSWER_TOKENS,
        },
        "cases": cases,
        "answered_before_s": _build(directory, "batches_of_16"),
    }


def _build(directory: Path, model: str) -> float:
    """Seconds that dbt gives for one model."""
    _dbt(directory, "build", "--select", model)
    results = json.loads((directory / "target" / "run_results.json").read_text())["results"]
    (result,) = (r for r in results if r["unique_id"].endswith(f".{model}"))
    return float(result["execution_time"])


def _dbt(directory: Path, *arguments: str) -> None:
    command = [str(Path(sys.executable).parent / "dbt"), *arguments]
    environment = os.environ | {"DBT_SEND_ANONYMOUS_USAGE_STATS": "false"}
    done = subprocess.run(
        command, cwd=directory, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise BenchmarkError(f"{' '.join(arguments)} failed in {directory}: {done.stdout[-600:]}")


def _write(directory: Path, storage: str, threads: int, rows: int | None, say: Say) -> None:
    shutil.rmtree(directory, ignore_errors=True)
    say(f"writing {directory}")
    model = directory / "packages" / "smollm2"
    write_project(model, open_checkpoint(places.smollm2()), storage=storage)
    attach = "{path: smollm2.duckdb, options: {row_group_size: 2048}}"
    files = {
        "dbt_project.yml": (
            'name: bench\nprofile: bench\nversion: "1.0.0"\n'
            "models:\n"
            "  bench:\n"
            "    +pre-hook: \"{% do ref('smollm2', 'forward_pass') %}\"\n"
            "  smollm2:\n    +database: smollm2\n"
        ),
        "packages.yml": (
            "packages:\n  - local: packages/smollm2\n  - local: packages/smollm2/packages/relama\n"
        ),
        "profiles.yml": (
            "bench:\n  target: dev\n  outputs:\n    dev:\n      type: duckdb\n"
            f"      path: bench.duckdb\n      threads: 1\n      settings: {{threads: {threads}}}\n"
            f"      attach:\n        - {attach}\n"
        ),
    }
    for name, (config, seed, count) in CASES.items():
        files[f"models/{name}.sql"] = (
            f"{{{{ config(materialized='relama_complete', chat=false, {config}) }}}}\n"
            f"select id, body as prompt from {{{{ ref('{seed}') }}}} "
            f"where id < {min(count, rows or count)}\n"
        )
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    tokenizer = Tokenizer.from_file(str(model / "tokenizer" / "tokenizer.json"))
    randomness = random.Random(0)
    instruction = _text(tokenizer, randomness, INSTRUCTION_TOKENS)
    prompts = [_text(tokenizer, randomness, PROMPT_TOKENS) for _ in range(ROWS)]
    questions = [instruction + " " + _text(tokenizer, randomness, 8) for _ in range(ROWS)]
    (directory / "seeds").mkdir()
    for name, texts in (("prompts", prompts), ("instructed", questions)):
        with (directory / "seeds" / f"{name}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("id", "body"), *enumerate(texts)])


def _text(tokenizer: Tokenizer, randomness: random.Random, tokens: int) -> str:
    """Words, which none of the cases ends early, of exactly so many tokens."""
    while True:
        words = [randomness.choice(_WORDS)]
        while len(tokenizer.encode(" ".join(words)).ids) < tokens:
            words.append(randomness.choice(_WORDS))
        text = " ".join(words)
        if len(tokenizer.encode(text).ids) == tokens:
            return text
