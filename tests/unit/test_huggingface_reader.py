"""The reader of Hugging Face directories gives back what was written."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from relama.architectures import build_graph
from relama.checkpoint.huggingface import HuggingFaceCheckpoint
from relama.errors import CheckpointError, UnsupportedError
from tests.unit.broken_checkpoints import CONFIG, weights, write_directory, write_shards

Q_PROJ = "model.layers.1.self_attn.q_proj.weight"


@pytest.mark.parametrize("write", [write_directory, write_shards])
def test_tensors_are_those_written(write, tmp_path: Path) -> None:
    checkpoint = HuggingFaceCheckpoint(write(tmp_path))
    expected = weights()
    assert set(checkpoint.tensors) == set(expected)
    for name, value in expected.items():
        tensor = checkpoint.tensors[name]
        assert (tensor.name, tensor.shape, tensor.dtype) == (name, value.shape, "F32")
        np.testing.assert_array_equal(tensor.read(), value)
    assert checkpoint.config == CONFIG


def test_float16_is_widened_exactly(tmp_path: Path) -> None:
    value = np.array([[0.1, -65504.0, 6e-8], [1.0, np.inf, -0.0]], np.float16)
    save_file({"x": value}, write_directory(tmp_path) / "model.safetensors")
    tensor = HuggingFaceCheckpoint(tmp_path).tensors["x"]
    assert tensor.dtype == "F16"
    assert tensor.read().dtype == np.float32
    np.testing.assert_array_equal(tensor.read(), value.astype(np.float32))


def test_bfloat16_is_widened_exactly(tmp_path: Path) -> None:
    # sign 1, exponent 8, mantissa 7 bits: 1, -2, 0.15625, 3.140625, the largest, infinity
    bits = np.array([0x3F80, 0xC000, 0x3E20, 0x4049, 0x7F7F, 0x7F80], "<u2")
    header = b'{"x": {"dtype": "BF16", "shape": [3, 2], "data_offsets": [0, 12]}}'
    data = len(header).to_bytes(8, "little") + header + bits.tobytes()
    (write_directory(tmp_path) / "model.safetensors").write_bytes(data)
    tensor = HuggingFaceCheckpoint(tmp_path).tensors["x"]
    assert tensor.dtype == "BF16"
    expected = [[1.0, -2.0], [0.15625, 3.140625], [3.3895313892515355e38, np.inf]]
    np.testing.assert_array_equal(tensor.read(), np.array(expected, np.float32))


@pytest.mark.parametrize(("start", "stop"), [(0, 1), (3, 17), (63, 64), (5, 5), (60, 1000)])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_rows_are_a_slice_of_the_whole(dtype: str, start: int, stop: int, tmp_path: Path) -> None:
    tensors = {name: value.astype(dtype) for name, value in weights().items()}
    save_file(tensors, write_directory(tmp_path) / "model.safetensors")
    tensor = HuggingFaceCheckpoint(tmp_path).tensors[Q_PROJ]
    expected = tensors[Q_PROJ].astype(np.float32)[start:stop]
    np.testing.assert_array_equal(tensor.read_rows(start, stop), expected)


def test_rows_of_a_vector_and_of_more_dimensions(tmp_path: Path) -> None:
    tensors = {
        "vector": np.arange(10, dtype=np.float32),
        "cube": np.arange(24, dtype=np.float32).reshape(4, 3, 2),
    }
    save_file(tensors, write_directory(tmp_path) / "model.safetensors")
    read = HuggingFaceCheckpoint(tmp_path).tensors
    for name, value in tensors.items():
        np.testing.assert_array_equal(read[name].read_rows(1, 3), value[1:3])


def test_blocks_give_all_rows_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relama.checkpoint.base.BLOCK_ELEMENTS", 5 * 64)
    tensor = HuggingFaceCheckpoint(write_directory(tmp_path)).tensors[Q_PROJ]
    blocks = list(tensor.blocks())
    assert [start for start, _ in blocks] == list(range(0, 64, 5))
    np.testing.assert_array_equal(np.concatenate([rows for _, rows in blocks]), tensor.read())


def test_tokens_are_plain_strings(tmp_path: Path) -> None:
    settings = {
        "bos_token": {"__type": "AddedToken", "content": "<s>", "special": True},
        "eos_token": "</s>",
        "pad_token": None,
        "add_bos_token": True,
    }
    (write_directory(tmp_path) / "tokenizer_config.json").write_text(json.dumps(settings))
    assert HuggingFaceCheckpoint(tmp_path).tokenizer_config == settings | {"bos_token": "<s>"}


def test_optional_files_may_be_absent(tmp_path: Path) -> None:
    checkpoint = HuggingFaceCheckpoint(write_directory(tmp_path))
    assert checkpoint.tokenizer_config == {}
    assert checkpoint.generation_config == {}
    assert checkpoint.chat_template is None


def test_generation_config(tmp_path: Path) -> None:
    (write_directory(tmp_path) / "generation_config.json").write_text('{"eos_token_id": [1, 2]}')
    assert HuggingFaceCheckpoint(tmp_path).generation_config == {"eos_token_id": [1, 2]}


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("plain", "plain"),
        ([{"name": "tool_use", "template": "t"}, {"name": "default", "template": "d"}], "d"),
        ([{"name": "tool_use", "template": "t"}], None),
    ],
)
def test_chat_template_of_the_tokenizer_config(
    template: object, expected: str | None, tmp_path: Path
) -> None:
    settings = {"chat_template": template}
    (write_directory(tmp_path) / "tokenizer_config.json").write_text(json.dumps(settings))
    assert HuggingFaceCheckpoint(tmp_path).chat_template == expected
    (tmp_path / "chat_template.jinja").write_text("{{ messages }}\n")
    assert HuggingFaceCheckpoint(tmp_path).chat_template == "{{ messages }}\n"


def test_chat_template_must_be_text(tmp_path: Path) -> None:
    (write_directory(tmp_path) / "tokenizer_config.json").write_text('{"chat_template": 1}')
    with pytest.raises(CheckpointError, match="chat_template must be a string"):
        HuggingFaceCheckpoint(tmp_path)


def test_tokenizer_neither_truncates_nor_pads(tmp_path: Path) -> None:
    path = write_directory(tmp_path) / "tokenizer.json"
    settings = json.loads(path.read_text())
    settings["truncation"] = {
        "direction": "Right",
        "max_length": 2,
        "strategy": "LongestFirst",
        "stride": 0,
    }
    path.write_text(json.dumps(settings))
    assert HuggingFaceCheckpoint(tmp_path).tokenizer().encode("abcab").ids == [5, 3, 5]


# What transformers 5.24 has as `generation_config.eos_token_id` of such a directory; where it
# has none, the tokenizer's eos_token is left (`ProjectTokenizer.end_token_ids`).
@pytest.mark.parametrize(
    ("generation", "config", "expected"),
    [
        (None, {"eos_token_id": 3}, 3),
        (None, {"eos_token_id": [2, 3]}, [2, 3]),
        (None, {"eos_token_id": None}, None),
        (None, {}, None),
        ({"eos_token_id": [1, 2]}, {"eos_token_id": 3}, [1, 2]),
        ({"eos_token_id": []}, {"eos_token_id": 3}, []),
        ({"eos_token_id": [2, -1, 9999]}, {}, [2, -1, 9999]),
        ({"temperature": 0.6}, {"eos_token_id": 3}, None),
        ({"eos_token_id": None}, {"eos_token_id": 3}, None),
        ({}, {"eos_token_id": 3}, None),
    ],
)
def test_end_tokens(
    generation: dict[str, object] | None,
    config: dict[str, object],
    expected: object,
    tmp_path: Path,
) -> None:
    (write_directory(tmp_path) / "config.json").write_text(json.dumps(CONFIG | config))
    if generation is not None:
        (tmp_path / "generation_config.json").write_text(json.dumps(generation))
    checkpoint = HuggingFaceCheckpoint(tmp_path)
    assert checkpoint.generation_config.get("eos_token_id") == expected
    hidden = generation is not None and "eos_token_id" in config and expected is None
    assert any("eos_token_id" in sentence for sentence in checkpoint.warnings) == hidden


@pytest.mark.parametrize("value", ["2", 2.0, True, [2, "3"], [[2]], {"a": 1}])
@pytest.mark.parametrize("name", ["config.json", "generation_config.json"])
def test_end_tokens_that_make_no_sense(name: str, value: object, tmp_path: Path) -> None:
    fields = (CONFIG if name == "config.json" else {}) | {"eos_token_id": value}
    (write_directory(tmp_path) / name).write_text(json.dumps(fields))
    with pytest.raises(CheckpointError, match=f"{name}: eos_token_id is .*it should be a token id"):
        HuggingFaceCheckpoint(tmp_path)


def test_sampling_settings_of_config_json_count_without_a_generation_config(tmp_path: Path) -> None:
    settings = {"do_sample": True, "temperature": 0.5, "repetition_penalty": 1.5}
    (write_directory(tmp_path) / "config.json").write_text(json.dumps(CONFIG | settings))
    assert HuggingFaceCheckpoint(tmp_path).generation_config == settings
    (tmp_path / "generation_config.json").write_text("{}")
    assert HuggingFaceCheckpoint(tmp_path).generation_config == {}


@pytest.mark.parametrize("absent", [("o",), ("k", "o"), ()])
def test_absent_biases_are_zeros(absent: tuple[str, ...], tmp_path: Path) -> None:
    tensors = weights()
    for name, value in weights().items():
        if "self_attn" in name and name.split(".")[-2][0] not in absent:
            tensors[name.replace("weight", "bias")] = np.ones(len(value), np.float32)
    save_file(tensors, write_directory(tmp_path) / "model.safetensors")
    tied = "lm_head.weight" not in tensors
    config = CONFIG | {"attention_bias": True, "tie_word_embeddings": tied}
    (tmp_path / "config.json").write_text(json.dumps(config))
    checkpoint = HuggingFaceCheckpoint(tmp_path)
    build_graph(checkpoint)
    for name, tensor in checkpoint.tensors.items():
        if name.endswith("bias"):
            expected = np.float32(name.split(".")[-2][0] not in absent)
            np.testing.assert_array_equal(tensor.read(), np.full(tensor.shape, expected))
    named = ", ".join(f"{letter}_proj" for letter in absent)
    sentences = [s for s in checkpoint.warnings if f"no bias of {named} in any layer" in s]
    assert sentences == list(checkpoint.warnings)
    assert len(sentences) == bool(absent)


def test_a_bias_that_one_layer_lacks_is_missing(tmp_path: Path) -> None:
    tensors = weights()
    for name, value in weights().items():
        if "self_attn" in name and name != Q_PROJ:
            tensors[name.replace("weight", "bias")] = np.ones(len(value), np.float32)
    save_file(tensors, write_directory(tmp_path) / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(CONFIG | {"attention_bias": True}))
    with pytest.raises(CheckpointError, match=r"layers.1.self_attn.q_proj.bias' is missing"):
        build_graph(HuggingFaceCheckpoint(tmp_path))


#: As the libraries write them, and DeepSeek-V3.
QUANTIZED = [
    {"bits": 4, "group_size": 128, "quant_method": "gptq", "sym": True},
    {"bits": 4, "quant_method": "awq", "version": "gemm", "zero_point": True},
    {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "quant_method": "bitsandbytes"},
    {"activation_scheme": "dynamic", "quant_method": "fp8", "weight_block_size": [128, 128]},
    {"format": "pack-quantized", "quant_method": "compressed-tensors"},
    {"quant_config": {"weight_quant_params": {"nbits": 4}}, "quant_method": "hqq"},
    {"in_group_size": 8, "nbits_per_codebook": 16, "quant_method": "aqlm"},
    {"quant_method": "bitnet", "quantization_mode": "online"},
]


@pytest.mark.parametrize("method", QUANTIZED, ids=lambda method: method["quant_method"])
def test_another_librarys_quantization_is_refused_before_tensors_are_read(
    method: dict[str, object], tmp_path: Path
) -> None:
    write_directory(tmp_path)
    # Codes and scales, of dtypes that would be refused by themselves.
    save_file({"x.qweight": np.zeros((2, 2), np.int32)}, tmp_path / "model.safetensors")
    complaint = (
        f"quantization_config has the method '{method['quant_method']}', which is not supported; "
        "supported: weights in F32, F16, BF16, which"
    )
    for config in (
        {**CONFIG, "quantization_config": method},
        {"model_type": "gemma3", "text_config": {**CONFIG, "quantization_config": method}},
        {"model_type": "deepseek_v3", "quantization_config": method},
    ):
        (tmp_path / "config.json").write_text(json.dumps(config))
        with pytest.raises(UnsupportedError, match=complaint):
            HuggingFaceCheckpoint(tmp_path)


def test_a_quantization_without_a_method(tmp_path: Path) -> None:
    write_directory(tmp_path)
    for key, value, shown in (
        ("quantization_config", {"load_in_8bit": True}, 'settings {"load_in_8bit": true}'),
        ("quantization_config", "fp8", "method 'fp8'"),
        ("compression_config", {"quant_method": "sparseml"}, "method 'sparseml'"),
    ):
        (tmp_path / "config.json").write_text(json.dumps({**CONFIG, key: value}))
        with pytest.raises(UnsupportedError) as raised:
            HuggingFaceCheckpoint(tmp_path)
        assert f"{key} has the {shown}, which is not supported; supported: " in str(raised.value)
    for nothing in (None, {}):
        config = {**CONFIG, "quantization_config": nothing}
        (tmp_path / "config.json").write_text(json.dumps(config))
        assert HuggingFaceCheckpoint(tmp_path).tensors


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors"])
@pytest.mark.parametrize("beside_a_model", [True, False])
def test_an_adapter_is_refused(name: str, beside_a_model: bool, tmp_path: Path) -> None:
    """Beside a model, transformers would add it: without it, answers would be others."""
    if beside_a_model:
        write_directory(tmp_path)
        config = {**CONFIG, "tie_word_embeddings": True}
        (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / name).write_text("{}")
    complaint = f"holds an adapter \\({name}\\), which is not supported; supported: a whole model"
    with pytest.raises(UnsupportedError, match=complaint):
        HuggingFaceCheckpoint(tmp_path)


def test_end_tokens_of_the_text_half(tmp_path: Path) -> None:
    """As `GenerationConfig.from_model_config` has it for a model of text and images."""
    write_directory(tmp_path)
    (tmp_path / "generation_config.json").unlink(missing_ok=True)
    text = {"eos_token_id": [1, 7]}
    for whole, ids in (({}, [1, 7]), ({"eos_token_id": None}, [1, 7]), ({"eos_token_id": 5}, 5)):
        config = {**CONFIG, "text_config": text, **whole}
        (tmp_path / "config.json").write_text(json.dumps(config))
        assert HuggingFaceCheckpoint(tmp_path).generation_config == {"eos_token_id": ids}
