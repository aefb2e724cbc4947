"""The published SQL layouts on DuckDB: their weights as tables, their passes as statements."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

from benchmarks.places import BenchmarkError
from benchmarks.systems.base import CONTEXT, System
from benchmarks.systems.published_sql import Forward, Layout
from relama.checkpoint import Checkpoint, open_checkpoint
from relama.checkpoint.base import FloatArray
from relama.config import ModelConfig, model_config
from relama.project.manifest import DISABLED_OPTIMIZERS
from relama.rope import rope_table

#: Elements a chunk: the width of a head, which divides all widths of SmolLM2.
CHUNK = 64


class Published(System):
    """A database that `write_database` has made, and one sequence in it."""

    def __init__(
        self, path: Path, source: Path, layout: Layout, threads: int, chunk: int = CHUNK
    ) -> None:
        self.path = path
        self.threads = threads
        self.config = model_config(open_checkpoint(source).config)
        self.forward = Forward(self.config, layout, chunk)

    def load(self) -> None:
        self.connection = duckdb.connect(config={"threads": self.threads})
        _attach(self.connection, self.path, "read_only")
        self.connection.execute(f"set disabled_optimizers = '{DISABLED_OPTIMIZERS}'")
        self._prepare()

    def close(self) -> None:
        self.connection.close()

    def _prepare(self) -> None:
        """Empties the state, and prepares the pass on it."""
        for statement in self.forward.tables():
            self.connection.execute(statement)
        self._passes = []
        for number, statement in enumerate(self.forward.statements()):
            self.connection.execute(f"prepare pass_{number} as {statement}")
            self._passes.append(f"execute pass_{number}")

    def place(self, ids: Sequence[int], past: int) -> None:
        execute = self.connection.execute
        if past == 0:
            self._prepare()
        for layer in range(self.config.num_hidden_layers):
            execute(f"delete from cache_{layer:02} where position >= {past}")
        for table in ("waiting", "hidden", "heads", "logits"):
            execute(f"delete from {table}")
        execute(
            "insert into waiting select ? + i - 1, ids[i] "
            "from (select ?::integer[] as ids), range(1, ? + 1) as r (i)",
            [past, list(ids), len(ids)],
        )

    def read(self) -> int:
        for statement in self._passes:
            self.connection.execute(statement)
        rows = self.connection.execute("select arg_max(token_id, logit) from logits").fetchall()
        return int(rows[0][0])

    def logits(self, ids: Sequence[int]) -> FloatArray:
        self.place(ids, 0)
        self.read()
        rows = self.connection.execute("select logit from logits order by token_id").fetchnumpy()
        return np.asarray(rows["logit"], np.float32)

    def fill(self, ids: Sequence[int], cache: Path) -> int:
        """Takes over keys and values: reading a thousand tokens takes these layouts minutes."""
        stored = np.load(cache)
        self.place(ids[-1:], 0)
        count = len(ids) - 1
        for layer in range(self.config.num_hidden_layers):
            vectors = np.concatenate(
                [stored[f"key_{layer}"][:, :count], stored[f"value_{layer}"][:, :count]]
            )
            heads, positions = np.indices(vectors.shape[:2])
            table = pa.table(
                {
                    "position": pa.array(positions.ravel(), pa.int32()),
                    "head": pa.array(heads.ravel(), pa.int32()),
                    "vector": _lists(vectors.reshape(-1, vectors.shape[-1])),
                }
            )
            self.connection.register("ready", table)
            self.connection.execute(f"insert into cache_{layer:02} select * from ready")
            self.connection.unregister("ready")
        self.connection.execute("update waiting set position = ?", [count])
        return self.read()


def write_database(path: Path, source: Path, layout: Layout, chunk: int = CHUNK) -> None:
    """Stores the weights of `source` in `layout`; `path` appears whole or not at all.

    Raises:
        BenchmarkError: the model is not one that the layouts are written for.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    partial.unlink(missing_ok=True)
    checkpoint = open_checkpoint(source)
    config = model_config(checkpoint.config)
    if not config.tie_word_embeddings or config.attention_bias or config.mlp_bias:
        raise BenchmarkError(f"{source}: the published layouts need tied embeddings and no biases.")
    with duckdb.connect() as connection:
        # Small row groups, so that several threads share a matrix of few rows.
        _attach(connection, partial, "row_group_size 2048")
        connection.execute("set force_compression = 'uncompressed'")
        for name, rows in _vectors(checkpoint, config):
            _store_vector(connection, name, rows, chunk)
        for name, matrix in _matrices(checkpoint, config):
            if layout == "chunked":
                _store_chunks(connection, name, matrix, chunk)
            else:
                _store_columns(connection, name, matrix, chunk)
        cos, sin = rope_table(config.rope, config.head_dim, CONTEXT)
        rope = {
            "position": pa.array(np.arange(len(cos)), pa.int32()),
            "cos": _lists(cos),
            "sin": _lists(sin),
        }
        _create(connection, "rope", pa.table(rope))
    partial.rename(path)


def _attach(connection: duckdb.DuckDBPyConnection, path: Path, option: str) -> None:
    quoted = str(path).replace("'", "''")
    connection.execute(f"attach '{quoted}' as weights ({option})")
    connection.execute("use weights.main")


def _vectors(checkpoint: Checkpoint, config: ModelConfig) -> Iterator[tuple[str, FloatArray]]:
    """The norms, cut into chunks."""
    tensors = checkpoint.tensors
    for layer in range(config.num_hidden_layers):
        name = f"model.layers.{layer}"
        yield f"input_norm_{layer:02}", tensors[f"{name}.input_layernorm.weight"].read()
        yield f"mlp_norm_{layer:02}", tensors[f"{name}.post_attention_layernorm.weight"].read()
    yield "final_norm", tensors["model.norm.weight"].read()


def _matrices(checkpoint: Checkpoint, config: ModelConfig) -> Iterator[tuple[str, FloatArray]]:
    """The matrices, Q, K and V stacked, and gate and up."""
    tensors = checkpoint.tensors

    def stacked(layer: int, *parts: str) -> FloatArray:
        names = [f"model.layers.{layer}.{part}.weight" for part in parts]
        return np.concatenate([tensors[name].read() for name in names])

    for layer in range(config.num_hidden_layers):
        attention = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
        yield f"qkv_{layer:02}", stacked(layer, *attention)
        yield f"o_{layer:02}", stacked(layer, "self_attn.o_proj")
        yield f"gate_up_{layer:02}", stacked(layer, "mlp.gate_proj", "mlp.up_proj")
        yield f"down_{layer:02}", stacked(layer, "mlp.down_proj")
    yield "embedding", tensors["model.embed_tokens.weight"].read()


def _store_vector(
    connection: duckdb.DuckDBPyConnection, name: str, values: FloatArray, chunk: int
) -> None:
    """A table (chunk_id, vector) with one row a chunk."""
    chunks = values.reshape(-1, chunk)
    chunk_id = pa.array(np.arange(len(chunks)), pa.int32())
    _create(connection, name, pa.table({"chunk_id": chunk_id, "vector": _lists(chunks)}))


def _store_chunks(
    connection: duckdb.DuckDBPyConnection, name: str, matrix: FloatArray, chunk: int
) -> None:
    """A table (row_id, chunk_id, vector) with one row a chunk."""
    rows, chunks = np.indices((matrix.shape[0], matrix.shape[1] // chunk))
    table = {
        "row_id": pa.array(rows.ravel(), pa.int32()),
        "chunk_id": pa.array(chunks.ravel(), pa.int32()),
        "vector": _lists(matrix.reshape(-1, chunk)),
    }
    _create(connection, name, pa.table(table))


def _store_columns(
    connection: duckdb.DuckDBPyConnection, name: str, matrix: FloatArray, chunk: int
) -> None:
    """A table (row_id, chunk_0, chunk_1, ...) with one column a chunk."""
    columns = {
        f"chunk_{start // chunk}": _lists(matrix[:, start : start + chunk])
        for start in range(0, matrix.shape[1], chunk)
    }
    row_id = pa.array(np.arange(len(matrix)), pa.int32())
    _create(connection, name, pa.table({"row_id": row_id, **columns}))


def _create(connection: duckdb.DuckDBPyConnection, name: str, table: pa.Table) -> None:
    connection.register("ready", table)
    connection.execute(f"create table {name} as select * from ready")
    connection.unregister("ready")


def _lists(rows: FloatArray) -> pa.ListArray:
    """Rows as DuckDB's `FLOAT[]`."""
    flat = pa.array(np.ascontiguousarray(rows).ravel(), pa.float32())
    offsets = pa.array(np.arange(0, rows.size + 1, rows.shape[1]), pa.int32())
    return pa.ListArray.from_arrays(offsets, flat)
