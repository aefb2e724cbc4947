"""The suite `inmemory`: every system on SmolLM2-135M, side by side, everything in memory."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import models
from benchmarks.checks import check
from benchmarks.child import Child
from benchmarks.machine import describe
from benchmarks.places import BUILD, ROOT, smollm2
from benchmarks.systems.base import Spec
from relama.checkpoint import open_checkpoint
from relama.checkpoint.base import FloatArray

Say = Callable[[str], None]

#: 37 tokens once the chat template is around it; prompts of other lengths are the licence.
QUESTION = (
    "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face"
    "<|im_end|>\n<|im_start|>user\nWhat is the capital of France?<|im_end|>\n"
    "<|im_start|>assistant\n"
)

PREFILL = (37, 128, 256)
DECODE = (64, 128, 256, 1000)

#: The published layouts read longer prompts in minutes, and are left out there.
PUBLISHED_PREFILL = 37

#: Tokens after which the logits are compared.
CHECKED = 100

#: Single tokens in one measurement of decoding, of which the median counts.
STEPS = 5


def run(
    *,
    repeat: int,
    quick: bool,
    threads: int,
    only: Sequence[str],
    kernels: Sequence[str],
    rebuild: bool,
    say: Say,
) -> dict[str, Any]:
    """Measures all systems, or those whose name contains one of `only`; the result as JSON."""
    specs = [
        *models.relama_specs(threads, kernels, say, rebuild),
        *models.llama_cpp_specs(threads, say),
        models.transformers_spec(threads, say),
        *models.published_specs(threads, say),
    ]
    # transformers stays: the others are checked against it, and it fills their caches.
    specs = [s for s in specs if s.kind == "transformers" or not only or _named(s, only)]
    prefill, decode = (PREFILL[:1], DECODE[:1]) if quick else (PREFILL, DECODE)
    prompts = {length: prompt(length) for length in {*prefill, *decode}}
    checked_on = prompt(CHECKED)
    expected = {source: _expected(source, threads, checked_on, say) for source in _sources(specs)}

    with ExitStack() as stack:
        children, results = [], []
        for spec in specs:
            say(f"loading {spec.name}")
            child = stack.enter_context(Child(spec))
            loaded = child.ask("load")
            logits = _logits(child, checked_on)
            result = {
                "name": spec.name,
                "kind": spec.kind,
                "quantised": spec.quantised,
                "load_s": round(loaded["seconds"], 3),
                "checked": check(logits, expected[spec.source], spec.quantised),
                "measures": {},
            }
            say(f"  {_verdict(result['checked'])}")
            children.append(child)
            results.append(result)
        for length in prefill:
            _measure_prefill(children, results, prompts[length], repeat, say)
        for length in decode:
            _measure_decode(children, results, prompts[length], repeat, say)
    compare_tokens(results)
    return {
        "suite": "inmemory",
        "machine": describe(Path(specs[0].source)),
        "settings": {"repeat": repeat, "threads": threads, "steps": STEPS, "quick": quick},
        "systems": results,
    }


def prompt(length: int) -> list[int]:
    """`length` token ids: the question for 37, the beginning of the licence otherwise."""
    tokenizer = open_checkpoint(smollm2()).tokenizer()
    text = QUESTION if length == PREFILL[0] else (ROOT / "LICENSE").read_text()
    ids: list[int] = tokenizer.encode(text, add_special_tokens=False).ids[:length]
    assert len(ids) == length
    return ids


def in_turns(
    children: Sequence[Child], repeat: int, ask: Callable[[Child], dict[str, Any]]
) -> list[list[dict[str, Any]]]:
    """`repeat` replies of every child, the children taking turns, every other round backwards."""
    replies: list[list[dict[str, Any]]] = [[] for _ in children]
    order = [*range(len(children))]
    for _ in range(repeat):
        for number in order:
            time.sleep(0.05)  # until the threads of the one before have gone to sleep
            replies[number].append(ask(children[number]))
        order.reverse()
    return replies


def compare_tokens(results: Sequence[dict[str, Any]]) -> None:
    """Marks the measures in which a system chose other tokens than transformers.

    A float32 system that did so fails its check; a quantised one may.
    """
    (reference,) = (result for result in results if result["kind"] == "transformers")
    for result in results:
        for name, measure in result["measures"].items():
            expected = reference["measures"][name]["next_tokens"]
            measure["same_next_tokens"] = measure["next_tokens"] == expected
            if not result["quantised"] and not measure["same_next_tokens"]:
                result["checked"]["same_next_token"] = result["checked"]["passed"] = False


def _measure_prefill(
    children: Sequence[Child],
    results: Sequence[dict[str, Any]],
    ids: list[int],
    repeat: int,
    say: Say,
) -> None:
    say(f"prefill of {len(ids)} tokens, {repeat} rounds")
    pairs = zip(children, results, strict=True)
    able = [p for p in pairs if p[0].spec.kind != "published" or len(ids) <= PUBLISHED_PREFILL]
    children, results = [child for child, _ in able], [result for _, result in able]
    replies = in_turns(children, repeat, lambda child: child.ask("prefill", ids=ids))
    for result, answers in zip(results, replies, strict=True):
        seconds = [answer["seconds"] for answer in answers]
        result["measures"][f"prefill_{len(ids)}"] = {
            "tokens": len(ids),
            **summary(seconds),
            "tokens_per_s": round(len(ids) / statistics.median(seconds), 3),
            "next_tokens": [answers[-1]["next_token"]],
        }
        say(f"  {result['name']}: {statistics.median(seconds):.3f} s")


def _measure_decode(
    children: Sequence[Child],
    results: Sequence[dict[str, Any]],
    ids: list[int],
    repeat: int,
    say: Say,
) -> None:
    say(f"decode at {len(ids)} positions, {repeat} rounds")
    cache = BUILD / "cache.npz"
    # transformers first: it writes the keys and values that others may take over.
    for child in sorted(children, key=lambda child: child.spec.kind != "transformers"):
        child.ask("fill", ids=ids, cache=str(cache))
    cache.unlink(missing_ok=True)
    replies = in_turns(children, repeat, lambda child: child.ask("decode", ids=ids, steps=STEPS))
    for result, answers in zip(results, replies, strict=True):
        seconds = [statistics.median(answer["seconds"]) for answer in answers]
        result["measures"][f"decode_{len(ids)}"] = {
            "positions": len(ids),
            **summary(seconds),
            "tokens_per_s": round(1 / statistics.median(seconds), 3),
            "next_tokens": answers[-1]["next_tokens"],
            "peak_resident_bytes": answers[-1]["peak_resident_bytes"],
        }
        say(f"  {result['name']}: {statistics.median(seconds):.4f} s a token")


def summary(seconds: Sequence[float]) -> dict[str, Any]:
    """The median, the extremes and all values, in seconds."""
    return {
        "median_s": round(statistics.median(seconds), 5),
        "least_s": round(min(seconds), 5),
        "most_s": round(max(seconds), 5),
        "seconds": [round(value, 5) for value in seconds],
    }


def _named(spec: Spec, only: Sequence[str]) -> bool:
    return any(part.lower() in spec.name.lower() for part in only)


def _sources(specs: Sequence[Spec]) -> list[str]:
    return list(dict.fromkeys(spec.source for spec in specs))


def _expected(source: str, threads: int, ids: list[int], say: Say) -> FloatArray:
    """The logits after `ids` of transformers on the dequantised weights of `source`."""
    say(f"transformers on the weights of {Path(source).name}, to check by")
    with Child(replace(_REFERENCE, path=source, source=source, threads=threads)) as child:
        child.ask("load")
        return _logits(child, ids)


_REFERENCE = Spec("transformers float32", "transformers", "", "")


def _logits(child: Child, ids: list[int]) -> FloatArray:
    file = BUILD / "logits.npy"
    child.ask("logits", ids=ids, file=str(file))
    logits: FloatArray = np.load(file)
    file.unlink()
    return logits


def _verdict(checked: dict[str, Any]) -> str:
    verdict = "checked" if checked["passed"] else "CHECK FAILED"
    same = "same" if checked["same_next_token"] else "different"
    return f"{verdict}: {same} next token, cosine {checked['cosine']:.6f}"
