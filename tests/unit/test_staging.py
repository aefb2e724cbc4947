"""Staging: bounded memory, both readers alike, nothing half-written."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import dbt.context
import numpy as np
import pyarrow.parquet as pq
import pytest
from dbt.contracts.project import BANNED_PROJECT_NAMES

from relama import names
from relama.architectures import build_graph
from relama.checkpoint import open_checkpoint
from relama.checkpoint.base import BLOCK_ELEMENTS, Tensor
from relama.errors import CheckpointError, GraphError, InputError
from relama.graph import Graph, Part, Weight
from relama.passes import run_passes
from relama.project.manifest import checked_name, is_reserved, own_name
from relama.project.staging import stage, staged_tensors
from tests.conftest import TINY_LLAMA

_MEASURE = """
import resource, sys
from pathlib import Path
import numpy as np
from relama.checkpoint.base import Tensor
from relama.config import model_config
from relama.graph import Graph, Part, Weight
from relama.project.staging import stage

config = model_config(dict(model_type="llama", vocab_size=8, hidden_size=8, intermediate_size=8,
                           num_hidden_layers=1, num_attention_heads=1))
graph = Graph(config)
tensors = {}
for i in range(int(sys.argv[2])):
    name = f"model.layers.{i}.mlp.up_proj.weight"
    graph.add_weight(Weight(f"w{i}", i, (Part(name, 32768),), 4096))
    tensors[name] = Tensor(name, (32768, 4096), "F32", lambda a, b: np.ones((b - a, 4096), "f4"))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
stage(graph, tensors, Path(sys.argv[1]), lambda done: None)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_memory_does_not_grow_with_the_model(tmp_path: Path) -> None:
    """Tensors of 512 MiB, one and three of them: far below 1.5 GB, and alike."""
    peaks = []
    for count in (1, 3):
        command = [sys.executable, "-c", _MEASURE, str(tmp_path / str(count)), str(count)]
        output = subprocess.run(command, capture_output=True, text=True, check=True)
        peaks.append(int(output.stdout) * 1024)
    assert max(peaks) < 1.5e9
    assert peaks[1] < peaks[0] * 1.3 + 1e8


def test_staged_rows_equal_the_tensors(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(TINY_LLAMA)
    graph = run_passes(build_graph(checkpoint))
    done: list[int] = []
    stage(graph, checkpoint.tensors, tmp_path, done.append)
    for staged in staged_tensors(graph):
        table = pq.read_table(tmp_path / f"{staged.name}.parquet")
        tensor = checkpoint.tensors[staged.tensor].read()
        column = "value" if staged.is_bias else "vector"
        values = np.array(table[column].to_pylist(), dtype=np.float32)
        assert np.array_equal(values.reshape(tensor.shape), tensor)
        assert table["row_id"].to_pylist() == list(range(table.num_rows))
    assert sum(done) == sum(int(np.prod(t.shape)) for t in checkpoint.tensors.values())


def test_names() -> None:
    assert names.staged("model.layers.7.self_attn.q_proj.bias") == "layer_07__q_proj_bias"
    assert names.staged("model.layers.107.mlp.up_proj.weight") == "layer_107__up_proj"
    assert names.staged("model.embed_tokens.weight") == "embed_tokens"
    assert names.staged("lm_head.weight") == "lm_head"


def test_names_say_their_layer() -> None:
    assert names.parsed("layer_07__q_proj_weight") == (7, "q_proj")
    assert names.parsed("final_norm") == (None, "final_norm")
    assert names.layer_within("relama_matrix_layer_07__q_proj_weight__48") == 7
    assert names.layer_within("unique_vocabulary_token_id") is None
    assert own_name(Path("/x/Smol LM2; drop")) == "smol_lm2_drop"
    assert own_name(Path("/x/7b")) == "model_7b"
    with pytest.raises(InputError, match="--name language_model"):
        own_name(Path("/x/模型"))
    assert own_name(Path("/x/" + "a" * 80)) == "a" * 40


def test_no_name_is_one_that_dbt_reserves() -> None:
    """Oracle: the list of dbt-core itself, and what its contexts give to Jinja."""
    contexts = Path(dbt.context.__file__).parent.glob("*.py")
    member = re.compile(r"@context(?:property|member)\(\)\s+def ([a-z]\w*)")
    given = {name for file in contexts for name in member.findall(file.read_text())}
    names = {name for name in BANNED_PROJECT_NAMES | given if not name.startswith("_")}
    assert len(names) > 50
    for name in {*names, "dbt", "dbt_duckdb", "true", "no"}:
        assert is_reserved(name), name
        with pytest.raises(InputError, match="reserves"):
            own_name(Path("/x") / name)
        with pytest.raises(InputError, match="reserved"):
            checked_name(name)
    for name in ("Model", "a-b", "7b", "", "a.b", "x" * 81):
        with pytest.raises(InputError, match="lower-case"):
            checked_name(name)


def test_two_tensors_of_one_name_are_refused() -> None:
    graph = Graph(build_graph(open_checkpoint(TINY_LLAMA)).config)
    for module in ("self_attn", "mlp"):
        part = Part(f"model.layers.0.{module}.norm.weight", rows=1)
        graph.add_weight(Weight(module, 0, (part,), 8))
    with pytest.raises(GraphError, match=r"self_attn.norm.weight' and .*mlp.norm.weight' would"):
        staged_tensors(graph)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_not_finite(tmp_path: Path, value: float) -> None:
    checkpoint = open_checkpoint(TINY_LLAMA)
    graph = build_graph(checkpoint)
    tensors = dict(checkpoint.tensors)
    name = "model.layers.1.mlp.down_proj.weight"

    def spoiled(start: int, stop: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        rows = checkpoint.tensors[name].read_rows(start, stop).copy()
        rows[-1, -1] = value
        return rows

    tensors[name] = Tensor(name, tensors[name].shape, "F32", spoiled)
    with pytest.raises(CheckpointError, match=r"down_proj.*NaN or infinity"):
        stage(graph, tensors, tmp_path, lambda done: None)


def test_blocks_are_bounded() -> None:
    sizes = []

    def rows(start: int, stop: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        sizes.append((stop - start) * 10_000)
        return np.zeros((1, 1), np.float32)

    list(Tensor("t", (100_000, 10_000), "F32", rows).blocks())
    assert max(sizes) <= BLOCK_ELEMENTS
    assert sum(sizes) == 100_000 * 10_000
