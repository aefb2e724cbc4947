"""The suite `rows`: a language model over a table.

relama answers it within `dbt build`; llama.cpp with 16 sequences side by side is what people
would use beside a database.
"""

from __future__ import annotations

import csv
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
from gguf import GGMLQuantizationType as Kind
from tokenizers import Tokenizer

from benchmarks import models, places
from benchmarks.machine import describe
from benchmarks.places import BenchmarkError
from relama.checkpoint import open_checkpoint
from relama.checkpoint.base import FloatArray
from relama.kernels import chosen
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

#: Sequences of llama.cpp, each with room for so many tokens.
SEQUENCES = 16
CONTEXT = 256

#: llama.cpp answers a table so many times, of which the median counts.
TIMES = 3

#: Rows of llama.cpp that are compared with its answers one by one.
CHECKED = 8

#: Two tokens whose logits differ by less may change places with the size of a batch, which
#: changes llama.cpp's kernels; activations of 8 bits and keys of 16 were seen to move them by 0.22.
NEAR_TIE = 0.5

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


def run(
    *, storage: str, kernels: Sequence[str], quick: bool, threads: int, say: Say
) -> dict[str, Any]:
    """Measures seconds a row of relama with each of `kernels`, and of llama.cpp; as JSON.

    With relama, each case is a model of one dbt project. llama.cpp has the two cases of 64 rows
    that it would be used for: 16 prompts at once, and an instruction that is read once.
    """
    rows = 4 if quick else ROWS
    texts = {name: all_rows[:rows] for name, all_rows in _texts().items()}
    files = (models.variant(Kind.F32, say), places.smollm2())
    peers = [_llama_cpp(path, texts, threads, say) for path in files]
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
            "sequences": SEQUENCES,
        },
        "systems": [*(_relama(storage, one, texts, threads, say) for one in kernels), *peers],
    }


def _relama(
    storage: str, kernels: str, texts: Mapping[str, Sequence[str]], threads: int, say: Say
) -> dict[str, Any]:
    """The cases of relama, each a model of one dbt project."""
    name = models.relama_name(storage, kernels)
    directory = places.BUILD / f"rows-{kernels}"
    _write(directory, storage, kernels, texts, threads, say)
    _dbt(directory, "deps")
    say("building the language model")
    _dbt(directory, "build", "--select", "package:smollm2", "prompts", "instructed")
    if is_native(directory / "smollm2.duckdb") != (kernels == "native"):
        raise BenchmarkError(f"The language model in {directory} does not compute in {kernels}.")
    cases = {}
    for case, (_, seed, rows) in CASES.items():
        cases[case] = _case(_build(directory, case), min(rows, len(texts[seed])))
        say(f"{name}, {case}: {cases[case]['seconds_a_row']:.2f} s a row")
    answered = _build(directory, "batches_of_16")
    return {"name": name, "cases": cases, "answered_before_s": answered}


def _case(seconds: float, rows: int) -> dict[str, Any]:
    return {"rows": rows, "seconds": seconds, "seconds_a_row": seconds / rows}


def is_native(database: Path) -> bool:
    """Whether the language model that was built in `database` calls native functions."""
    with duckdb.connect(str(database), read_only=True) as connection:
        (native,) = connection.execute(
            "select coalesce(bool_or(contains(macro_definition, 'relama_attention')), false) "
            "from duckdb_functions()"
        ).fetchall()[0]
    return bool(native)


def _llama_cpp(
    path: Path, texts: Mapping[str, Sequence[str]], threads: int, say: Say
) -> dict[str, Any]:
    """Both tables of prompts with llama.cpp, and a check; loading the model is not timed."""
    from benchmarks.systems.llama_cpp_batch import LlamaCppBatch

    name = f"llama.cpp {models.kind_of(path)}, {SEQUENCES} sequences"
    cases, checks = {}, {}
    with (
        LlamaCppBatch(path, threads, 1, CONTEXT) as single,
        LlamaCppBatch(path, threads, SEQUENCES, CONTEXT) as batch,
    ):
        for case, table, tokens in (
            ("batches_of_16", "prompts", NEW_TOKENS),
            ("shared_instruction", "instructed", ANSWER_TOKENS),
        ):
            seconds = []
            for _ in range(1 + TIMES):  # the first one does not count
                began = time.perf_counter()
                prompts = [batch.tokenize(text) for text in texts[table]]
                shared = common(prompts) if table == "instructed" else 0
                answers = batch.complete(prompts, tokens, shared)
                seconds.append(time.perf_counter() - began)
            cases[case] = _case(statistics.median(seconds[1:]), len(prompts))
            cases[case]["all_seconds"] = seconds
            say(f"{name}, {case}: {cases[case]['seconds_a_row']:.3f} s a row")
            checks[case] = compare(
                prompts,
                answers[:CHECKED],
                single.complete(prompts[:CHECKED], tokens),
                single.logits,
            )
            say(f"  {checks[case]}")
    return {"name": name, "cases": cases, "one_by_one": checks}


def common(lists: Sequence[Sequence[int]]) -> int:
    """How many ids the lists begin with that are the same in all."""
    columns = zip(*lists, strict=False)
    differing = (number for number, column in enumerate(columns) if len(set(column)) > 1)
    return next(differing, min(len(ids) for ids in lists))


def compare(
    prompts: Sequence[Sequence[int]],
    answers: Sequence[Sequence[int]],
    expected: Sequence[Sequence[int]],
    logits: Callable[[Sequence[int]], FloatArray],
) -> dict[str, int]:
    """How many answers are as expected, or leave it where two tokens are as likely.

    Args:
        logits: those after some ids.

    Raises:
        BenchmarkError: another answer.
    """
    near = 0
    for prompt, answer, right in zip(prompts, answers, expected, strict=False):
        if answer == right:
            continue
        same = common([answer, right])
        after = logits([*prompt, *right[:same]])
        difference = float(after[right[same]] - after[answer[same]])
        if not difference < NEAR_TIE:
            raise BenchmarkError(
                f"llama.cpp answers otherwise with {SEQUENCES} sequences than with one: token "
                f"{answer[same]} instead of {right[same]}, whose logit is {difference:.3f} higher."
            )
        near += 1
    return {"rows": len(answers), "same": len(answers) - near, "near_ties": near}


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


def _write(
    directory: Path,
    storage: str,
    kernels: str,
    texts: Mapping[str, Sequence[str]],
    threads: int,
    say: Say,
) -> None:
    shutil.rmtree(directory, ignore_errors=True)
    say(f"writing {directory}")
    model = directory / "packages" / "smollm2"
    write_project(
        model, open_checkpoint(places.smollm2()), storage=storage, kernels=chosen(kernels)
    )
    unsigned = str(kernels == "native").lower()
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
            f"      config_options: {{allow_unsigned_extensions: {unsigned}}}\n"
            f"      attach:\n        - {attach}\n"
        ),
    }
    for name, (config, seed, count) in CASES.items():
        files[f"models/{name}.sql"] = (
            f"{{{{ config(materialized='relama_complete', chat=false, {config}) }}}}\n"
            f"select id, body as prompt from {{{{ ref('{seed}') }}}} "
            f"where id < {count}\n"
        )
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (directory / "seeds").mkdir()
    for name, rows in texts.items():
        with (directory / "seeds" / f"{name}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("id", "body"), *enumerate(rows)])


def _texts() -> dict[str, list[str]]:
    """The two tables of prompts, as a seed each."""
    tokenizer = open_checkpoint(places.smollm2()).tokenizer()
    randomness = random.Random(0)
    instruction = _text(tokenizer, randomness, INSTRUCTION_TOKENS)
    prompts = [_text(tokenizer, randomness, PROMPT_TOKENS) for _ in range(ROWS)]
    questions = [instruction + " " + _text(tokenizer, randomness, 8) for _ in range(ROWS)]
    return {"prompts": prompts, "instructed": questions}


def _text(tokenizer: Tokenizer, randomness: random.Random, tokens: int) -> str:
    """Words, which none of the cases ends early, of exactly so many tokens."""
    while True:
        words = [randomness.choice(_WORDS)]
        while len(tokenizer.encode(" ".join(words)).ids) < tokens:
            words.append(randomness.choice(_WORDS))
        text = " ".join(words)
        if len(tokenizer.encode(text).ids) == tokens:
            return text
