"""transformers on torch in float32, on the weights of a GGUF file; the others' yardstick."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.systems.base import System
from relama.checkpoint import open_checkpoint
from relama.checkpoint.base import FloatArray

#: Fields of `LlamaConfig` that relama's reader gives under the same name.
FIELDS = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "max_position_embeddings",
    "rms_norm_eps",
    "tie_word_embeddings",
    "attention_bias",
    "mlp_bias",
)


class Transformers(System):
    """`LlamaForCausalLM` with a dynamic cache, filled from relama's reader."""

    def __init__(self, path: Path, threads: int) -> None:
        self.path = path
        self.threads = threads

    def load(self) -> None:
        import torch
        from transformers import DynamicCache, LlamaConfig, LlamaForCausalLM

        torch.set_num_threads(self.threads)
        torch.set_grad_enabled(False)
        checkpoint = open_checkpoint(self.path)
        config = LlamaConfig(
            **{name: checkpoint.config[name] for name in FIELDS},
            rope_parameters={"rope_type": "default", "rope_theta": checkpoint.config["rope_theta"]},
            dtype="float32",
        )
        with torch.device("meta"):
            self.model = LlamaForCausalLM(config)
        weights = {
            name: torch.from_numpy(np.ascontiguousarray(tensor.read()))
            for name, tensor in checkpoint.tensors.items()
        }
        if config.tie_word_embeddings:
            weights["lm_head.weight"] = weights["model.embed_tokens.weight"]
        self.model.load_state_dict(weights, assign=True)
        # The table of RoPE is no weight: a meta model has none, so it is made anew.
        rotary = self.model.model.rotary_emb
        self.model.model.rotary_emb = type(rotary)(config)
        self.model.eval()
        self._new_cache = DynamicCache
        self._cache = DynamicCache()

    def close(self) -> None:
        del self.model, self._cache

    def place(self, ids: Sequence[int], past: int) -> None:
        import torch

        if past == 0:
            self._cache = self._new_cache()
        elif beyond := self._cache.get_seq_length() - past:
            self._cache.crop(-beyond)
        self._waiting = torch.tensor([list(ids)])

    def read(self) -> int:
        output = self.model(
            self._waiting, past_key_values=self._cache, use_cache=True, logits_to_keep=1
        )
        self._logits = output.logits[0, -1]
        return int(self._logits.argmax())

    def logits(self, ids: Sequence[int]) -> FloatArray:
        self.place(ids, 0)
        self.read()
        return np.asarray(self._logits.numpy(), np.float32)

    def fill(self, ids: Sequence[int], cache: Path) -> int:
        """Reads `ids`, and writes their keys and values to `cache` for who takes them over."""
        token = super().fill(ids, cache)
        arrays = {}
        for number, layer in enumerate(self._cache.layers):
            # (1, heads, positions, head_dim), keys rotated
            arrays[f"key_{number}"] = layer.keys[0].numpy()
            arrays[f"value_{number}"] = layer.values[0].numpy()
        np.savez(cache, **arrays)
        return token
