"""The models of the benchmark are what they say, and the published layouts compute a Llama."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from gguf import GGMLQuantizationType as Kind

from benchmarks import models
from benchmarks.checks import cosine
from benchmarks.gguf_variants import write_variant
from benchmarks.places import BenchmarkError
from benchmarks.synthetic import SCALE, SIZES, Shape, write_synthetic
from benchmarks.systems import Spec, open_system
from benchmarks.systems.llama_cpp import LlamaCpp
from benchmarks.systems.published import Published, write_database
from benchmarks.systems.published_sql import Layout
from relama.checkpoint import open_checkpoint
from relama.config import model_config
from relama.reference import forward
from tests.unit.broken_checkpoints import TOKENS, write_gguf

TINY = Shape(
    num_hidden_layers=2,
    hidden_size=64,
    intermediate_size=96,
    num_attention_heads=2,
    num_key_value_heads=1,
    head_dim=32,
)


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("synthetic")
    path = directory / "synthetic.gguf"
    write_synthetic(path, TINY, write_gguf(directory / "donor.gguf"), Kind.F32)
    return path


def test_a_synthetic_model_is_read_back(synthetic: Path) -> None:
    checkpoint = open_checkpoint(synthetic)
    config = model_config(checkpoint.config)
    for name, value in vars(TINY).items():
        assert getattr(config, name) == value
    assert (config.vocab_size, config.tie_word_embeddings) == (len(TOKENS), True)
    query = checkpoint.tensors["model.layers.1.self_attn.q_proj.weight"]
    assert query.shape == (64, 64)
    assert 0.015 < query.read().std() < 0.025
    np.testing.assert_array_equal(checkpoint.tensors["model.norm.weight"].read(), np.ones(64))
    assert checkpoint.tokenizer().get_vocab_size() == len(TOKENS)
    parameters = sum(
        int(np.prod(tensor.shape)) for tensor in checkpoint.tensors.values() if tensor.shape[1:]
    )
    assert TINY.multiply_adds(config.vocab_size) == parameters


def test_a_synthetic_model_loses_nothing_in_eight_bits(synthetic: Path, tmp_path: Path) -> None:
    path = tmp_path / "variant.gguf"
    write_variant(synthetic, path, Kind.Q8_0)
    source, variant = open_checkpoint(synthetic), open_checkpoint(path)
    for name, tensor in source.tensors.items():
        values = tensor.read()
        np.testing.assert_array_equal(variant.tensors[name].read(), values)
        if values.ndim > 1:
            # int8 has a scale per row.
            np.testing.assert_array_equal(np.abs(values).max(axis=1), 127 * SCALE)


def test_a_synthetic_model_depends_on_its_seed_alone(synthetic: Path, tmp_path: Path) -> None:
    again, other = tmp_path / "again.gguf", tmp_path / "other.gguf"
    donor = write_gguf(tmp_path / "donor.gguf")
    write_synthetic(again, TINY, donor, Kind.F32)
    write_synthetic(other, TINY, donor, Kind.F32, seed=1)
    assert again.read_bytes() == synthetic.read_bytes() != other.read_bytes()
    assert not list(tmp_path.glob("*.partial"))


def test_the_default_is_the_model_of_the_memory_curve() -> None:
    assert round(SIZES["2.3B"].multiply_adds(49152) / 1e9, 1) == 2.3
    assert round(SIZES["1.1B"].multiply_adds(49152) / 1e9, 1) == 1.1
    assert round(SIZES["0.5B"].multiply_adds(49152) / 1e9, 1) == 0.5
    assert round(SIZES["135M"].multiply_adds(49152) / 1e6) == 134


def test_shapes_that_no_llama_has_are_refused(tmp_path: Path) -> None:
    donor = write_gguf(tmp_path / "donor.gguf")
    with pytest.raises(BenchmarkError, match="5 heads must be a multiple of 2"):
        write_synthetic(tmp_path / "a.gguf", Shape(1, 64, 96, 5, 2, 32), donor)
    with pytest.raises(BenchmarkError, match="hidden_size \\(65\\) must be a multiple of 32"):
        write_synthetic(tmp_path / "a.gguf", Shape(1, 65, 96, 4, 2, 32), donor)
    assert not (tmp_path / "a.gguf").exists()


def test_llama_cpp_maps_its_file_unless_told_otherwise() -> None:
    for mmap in (True, False):
        system = open_system(Spec("llama.cpp Q8_0", "llama.cpp", "a.gguf", "a.gguf", mmap=mmap))
        assert isinstance(system, LlamaCpp) and system.mmap == mmap
    assert Spec("llama.cpp Q8_0", "llama.cpp", "a.gguf", "a.gguf").mmap


def test_native_and_sql_are_projects_of_their_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    called: list[tuple[str, ...]] = []

    def relama(*arguments: str) -> dict[str, int]:
        called.append(arguments)
        Path(arguments[1]).mkdir(exist_ok=True)
        return {"bytes": 1, "rows": 1}

    monkeypatch.setattr(models, "BUILD", tmp_path)
    monkeypatch.setattr(models, "_relama", relama)
    model = tmp_path / "tiny.gguf"
    specs = models.synthetic_specs(model, "int8", ["native", "sql"], 2, print, rebuild=False)
    assert [(spec.name, Path(spec.path).name, spec.quantised) for spec in specs] == [
        ("relama int8, native", "relama-tiny-int8-native", True),
        ("relama int8, SQL", "relama-tiny-int8-sql", True),
        ("llama.cpp Q8_0", "tiny.gguf", True),
    ]
    assert [arguments[-2:] for arguments in called if arguments[0] == "new"] == [
        ("--kernels", "native"),
        ("--kernels", "sql"),
    ]
    called.clear()
    assert models.synthetic_specs(model, "int8", ["sql"], 2, print, rebuild=False) == specs[1:]
    assert called == []


@pytest.mark.parametrize("kind", [Kind.F32, Kind.Q8_0, Kind.Q4_0], ids=lambda kind: kind.name)
def test_a_variant_holds_the_same_model(kind: Kind, synthetic: Path, tmp_path: Path) -> None:
    path = tmp_path / "variant.gguf"
    write_variant(synthetic, path, kind)
    source, variant = open_checkpoint(synthetic), open_checkpoint(path)
    assert variant.config == source.config
    assert list(variant.tensors) == list(source.tensors)
    for name, tensor in source.tensors.items():
        stored = variant.tensors[name]
        assert stored.dtype == (kind.name if tensor.shape[1:] else "F32")
        # Half a step of 8 bits, or of 4.
        steps = {Kind.F32: 0, Kind.Q8_0: 1 / 127, Kind.Q4_0: 1 / 7}[kind]
        assert np.abs(stored.read() - tensor.read()).max() <= steps * np.abs(tensor.read()).max()


@pytest.mark.parametrize("layout", ["chunked", "row_to_column"])
def test_a_published_layout_computes_a_llama(
    layout: Layout, synthetic: Path, tmp_path: Path
) -> None:
    database = tmp_path / "weights.duckdb"
    write_database(database, synthetic, layout, chunk=32)
    checkpoint = open_checkpoint(synthetic)
    system = Published(database, synthetic, layout, threads=1, chunk=32)
    system.load()
    ids = [1, 5, 3, 2, 7]
    logits = forward(checkpoint.config, checkpoint.tensors, ids).logits[-1]
    assert cosine(system.logits(ids), logits) > 0.999999

    _, token = system.prefill(ids)
    _, tokens = system.decode([*ids, token], steps=3)
    expected = list(ids)
    for _ in range(4):
        expected.append(
            int(forward(checkpoint.config, checkpoint.tensors, expected).logits[-1].argmax())
        )
    assert [token, *tokens] == expected[len(ids) :]
    # A step back: what was read after it is forgotten.
    assert system.decode([*ids, token], steps=1)[1] == tokens[:1]
    system.close()
