"""The suite `experts`: a mixture of experts beside dense models of its chosen and of all experts.

Random weights, written as a Hugging Face directory. What a mixture's token reads is what the dense
model of the chosen experts reads, and the router beside it. The vocabulary is small, so that the
layers are what counts.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file
from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel

from benchmarks import models
from benchmarks.child import Child
from benchmarks.inmemory import in_turns, summary
from benchmarks.machine import describe
from benchmarks.places import BUILD

Say = Callable[[str], None]

NUM_EXPERTS, CHOSEN = 6, 2
#: Width of an expert's MLP: gate and up have 4,096 rows together, as down has.
EXPERT = 2048
SHAPE = {
    "hidden_size": 4096,
    "num_hidden_layers": 3,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
}
PROMPT = [*range(60, 90)]
STEPS = 5

#: How many experts a token is sent to, of how many; a dense model has one of all their rows.
MODELS = {
    f"{CHOSEN} of {NUM_EXPERTS} experts": (NUM_EXPERTS, CHOSEN, EXPERT),
    "dense, as the chosen": (1, 1, CHOSEN * EXPERT),
    "dense, as all": (1, 1, NUM_EXPERTS * EXPERT),
}


def run(
    *,
    storage: str,
    kernels: Sequence[str],
    repeat: int,
    threads: int,
    quick: bool,
    rebuild: bool,
    say: Say,
) -> dict[str, Any]:
    """Measures seconds per token of each of `MODELS`, in turns; the result as JSON."""
    layers = 1 if quick else SHAPE["num_hidden_layers"]
    paths = {name: checkpoint(layers, *sizes, say) for name, sizes in MODELS.items()}
    systems: list[dict[str, Any]] = []
    for one in kernels:
        specs = [
            models.relama_spec(path, storage, one, threads, say, rebuild) for path in paths.values()
        ]
        with ExitStack() as stack:
            children = [stack.enter_context(Child(spec)) for spec in specs]
            for child in children:
                child.ask("load")
                child.ask("fill", ids=PROMPT, cache="")
            replies = in_turns(
                children, repeat, lambda child: child.ask("decode", ids=PROMPT, steps=STEPS)
            )
        for name, answers in zip(paths, replies, strict=True):
            seconds = [statistics.median(answer["seconds"]) for answer in answers]
            say(f"{name}, {one}: {statistics.median(seconds):.4f} s per token")
            systems.append({"name": name, "kernels": one, **summary(seconds)})
    return {
        "suite": "experts",
        "machine": describe(next(iter(paths.values())) / "model.safetensors"),
        "settings": {"storage": storage, "repeat": repeat, "threads": threads, "steps": STEPS},
        "shape": {**SHAPE, "num_hidden_layers": layers, "intermediate_size": EXPERT},
        "systems": systems,
    }


def checkpoint(layers: int, num_experts: int, chosen: int, size: int, say: Say) -> Path:
    """A Mixtral of random weights, or a Mistral where there is one expert."""
    path = BUILD / f"experts-{layers}-{num_experts}-{chosen}-{size}"
    if (path / "config.json").is_file():
        return path
    say(f"writing {path.name}")
    path.mkdir(parents=True, exist_ok=True)
    letters = sorted(ByteLevel.alphabet())
    vocabulary = {letter: number for number, letter in enumerate(letters)}
    tokenizer = Tokenizer(BPE(vocabulary, []))
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    tokenizer.decoder = ByteLevelDecoder()
    tokenizer.save(str(path / "tokenizer.json"))
    config = {
        **SHAPE,
        "num_hidden_layers": layers,
        "model_type": "mistral" if num_experts == 1 else "mixtral",
        "vocab_size": len(vocabulary),
        "intermediate_size": size,
        "max_position_embeddings": 2048,
        "sliding_window": None,
        "tie_word_embeddings": True,
    }
    if num_experts > 1:
        config |= {"num_local_experts": num_experts, "num_experts_per_tok": chosen}
    random = np.random.default_rng(0)
    tensors = {
        name: random.standard_normal(shape, np.float32) * np.float32(0.02)
        if len(shape) > 1
        else np.ones(shape, np.float32)
        for name, shape in _shapes(config, num_experts, size)
    }
    save_file(tensors, path / "model.safetensors")
    (path / "config.json").write_text(json.dumps(config))
    return path


def _shapes(
    config: dict[str, Any], num_experts: int, size: int
) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Hugging Face's names of all tensors, with their shapes."""
    width, head = config["hidden_size"], config["head_dim"]
    query, key = config["num_attention_heads"] * head, config["num_key_value_heads"] * head
    yield "model.embed_tokens.weight", (config["vocab_size"], width)
    yield "model.norm.weight", (width,)
    for layer in range(config["num_hidden_layers"]):
        prefix = f"model.layers.{layer}."
        yield f"{prefix}input_layernorm.weight", (width,)
        yield f"{prefix}post_attention_layernorm.weight", (width,)
        for name, rows in (("q", query), ("k", key), ("v", key)):
            yield f"{prefix}self_attn.{name}_proj.weight", (rows, width)
        yield f"{prefix}self_attn.o_proj.weight", (width, query)
        if num_experts == 1:
            yield f"{prefix}mlp.gate_proj.weight", (size, width)
            yield f"{prefix}mlp.up_proj.weight", (size, width)
            yield f"{prefix}mlp.down_proj.weight", (width, size)
            continue
        yield f"{prefix}block_sparse_moe.gate.weight", (num_experts, width)
        for expert in range(num_experts):
            within = f"{prefix}block_sparse_moe.experts.{expert}."
            yield f"{within}w1.weight", (size, width)
            yield f"{within}w2.weight", (width, size)
            yield f"{within}w3.weight", (size, width)
