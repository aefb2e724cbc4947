"""The command line as a user meets it: output, exit codes, and what bad input gives."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import duckdb
import pytest
from click.testing import CliRunner, Result

from relama.cli import main
from relama.project.manifest import Project
from relama.runtime.tokenizer import ProjectTokenizer
from tests.conftest import ROOT, TINY_LLAMA
from tests.fixtures.make_tiny_llama import write_tiny_llama
from tests.unit.broken_checkpoints import put, write_gguf

HOSTILE = (
    "it's \"; drop table tokens; -- {{ 7*7 }} {% raw %} \n\\ \x00 <|im_end|> é 漢字 \U0001f600"
)


def relama(*arguments: object, stdin: str | bytes | None = None) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments], input=stdin)


def succeeds(*arguments: object, stdin: str | bytes | None = None) -> dict[str, Any]:
    """Runs with --json; standard output must be one JSON object and nothing else."""
    result = relama(*arguments, "--json", stdin=stdin)
    assert result.exit_code == 0, result.stderr
    value = json.loads(result.stdout)
    assert result.stdout.count("\n") == 1
    assert isinstance(value, dict)
    return value


def fails(*arguments: object, match: str) -> None:
    """One sentence on standard error, a non-zero exit, nothing on standard output."""
    result = relama(*arguments)
    assert result.exit_code in (1, 2), result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert "Traceback" not in result.stderr
    assert match in result.stderr
    errors = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert len(errors) == 1
    assert result.stdout == ""


def test_generate_json(tiny_project: Project) -> None:
    value = succeeds("generate", tiny_project.directory, "Hello", "--max-tokens", 6)
    assert list(value) == ["prompt_ids", "ids", "text", "finish_reason", "timings"]
    assert value["prompt_ids"] == [46, 75, 82, 82, 85]
    assert len(value["ids"]) == 6
    assert len(value["text"]) == 6
    assert value["finish_reason"] == "length"
    assert set(value["timings"]) == {
        "compile_s",
        "prefill_s",
        "decode_s_per_token",
        "tokens_per_s",
    }
    text = relama("generate", tiny_project.directory, "Hello", "--max-tokens", 6)
    assert text.stdout == value["text"] + "\n"


def test_prompt_from_standard_input_is_verbatim(tiny_project: Project) -> None:
    stdin = "  Hello \n\n"
    value = succeeds("generate", tiny_project.directory, "-", "--max-tokens", 1, stdin=stdin)
    assert value["prompt_ids"] == [6, 6, 46, 75, 82, 82, 85, 6, 5, 5]


def test_special_tokens_in_a_prompt_are_recognised(tiny_project: Project) -> None:
    value = succeeds("generate", tiny_project.directory, "<|im_start|>A", "--max-tokens", 1)
    assert value["prompt_ids"] == [1, ord("A") - 26]


def test_chat_template_and_system(tiny_project: Project) -> None:
    directory = tiny_project.directory
    plain = succeeds("generate", directory, "Hi", "--chat", "--max-tokens", 1)
    system = succeeds("generate", directory, "Hi", "--system", "S", "--max-tokens", 1)
    assert plain["prompt_ids"][0] == system["prompt_ids"][0] == 1
    assert len(system["prompt_ids"]) > len(plain["prompt_ids"])


def test_stop_text_ends_and_is_cut(tiny_project: Project) -> None:
    directory = tiny_project.directory
    whole = succeeds("generate", directory, "Hello", "--max-tokens", 8)
    stop = whole["text"][3:5]
    cut = succeeds("generate", directory, "Hello", "--max-tokens", 8, "--stop", stop)
    assert cut["text"] == whole["text"][: whole["text"].index(stop)]
    assert cut["finish_reason"] == "stop"


def test_end_token_stops_and_is_in_ids(tiny_project: Project) -> None:
    first = succeeds("generate", tiny_project.directory, "Hello", "--max-tokens", 4)
    settings = tiny_project.directory / "tokenizer" / "generation_config.json"
    settings.write_text(json.dumps({"eos_token_id": [first["ids"][2]]}))
    value = succeeds("generate", tiny_project.directory, "Hello", "--max-tokens", 4)
    assert value["ids"] == first["ids"][:3]
    assert value["finish_reason"] == "stop"
    assert value["text"] == first["text"][:2]


def test_logits_perplexity_compare(tiny_project: Project, tmp_path: Path) -> None:
    directory = tiny_project.directory
    logits = succeeds("logits", directory, "Hello", "--top", 3)
    assert [list(row) for row in logits["top"]] == [["id", "token", "logit", "logprob"]] * 3
    text = tmp_path / "text"
    text.write_text("Hello Hello Hello")
    score = succeeds("perplexity", directory, text, "--max-tokens", 10)
    assert list(score) == ["tokens", "nll", "perplexity"]
    assert score["tokens"] == 10
    comparison = succeeds("compare", directory, "--model", TINY_LLAMA)
    assert comparison["first_over_tolerance"] is None
    assert [layer["model"] for layer in comparison["layers"]] == [
        "embedding",
        "layer_00__down_proj",
        "layer_01__down_proj",
        "final_norm",
    ]


def test_compare_names_the_first_layer_that_differs(tiny_project: Project) -> None:
    with duckdb.connect(str(tiny_project.directory / "relama.duckdb")) as connection:
        connection.execute(
            "update layer_01__mlp_norm_weight "
            "set vector = list_transform(vector, lambda x: (x * 1.05)::float)"
        )
    result = relama("compare", tiny_project.directory, "--model", TINY_LLAMA, "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["first_over_tolerance"] == "layer_01__down_proj"


def test_scores_leave_the_conversation_alone(tiny_project: Project, tmp_path: Path) -> None:
    directory = tiny_project.directory
    succeeds("generate", directory, "Hello", "--max-tokens", 3)
    database = str(directory / "relama.duckdb")

    def state() -> list[Any]:
        with duckdb.connect(database, read_only=True) as connection:
            return connection.execute("select * from tokens order by all").fetchall()

    before = state()
    text = tmp_path / "text"
    text.write_text("Hello Hello Hello")
    succeeds("logits", directory, "Other")
    succeeds("perplexity", directory, text)
    assert state() == before


def test_chat_keeps_a_conversation(tiny_project: Project) -> None:
    value = succeeds("chat", tiny_project.directory, "--max-tokens", 3, stdin="Hi\n\nYou?\n")
    assert [message["role"] for message in value["messages"]] == ["user", "assistant"] * 2
    first, second = value["turns"]
    shared = len(first["prompt_ids"]) + len(first["ids"])
    assert second["prompt_ids"][:shared] == first["prompt_ids"] + first["ids"]


#: Shows of an earlier answer its end only, as templates of models that think do.
THINKING = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{{ m.content[-1:] if m.role == 'assistant' else m.content }}<|im_end|>\n{% endfor %}"
    "<|im_start|>assistant\n{% if enable_thinking is false %}<think></think>{% endif %}"
)


def test_template_arguments(tiny_project: Project) -> None:
    directory = tiny_project.directory
    (directory / "tokenizer" / "chat_template.jinja").write_text(THINKING)
    tokenizer = ProjectTokenizer(directory)
    off = ("--max-tokens", 3, "--template-arg", "enable_thinking=false")
    value = succeeds("generate", directory, "Hi", *off)
    question = [{"role": "user", "content": "Hi"}]
    assert value["prompt_ids"] == tokenizer.encode_chat(question, {"enable_thinking": False})
    assert value["prompt_ids"] != tokenizer.encode_chat(question)
    # A conversation keeps answers whole, and the template cuts them.
    value = succeeds("chat", directory, *off, stdin="Hi\nYou?\nAnd?\n")
    messages = value["messages"]
    for i, turn in enumerate(value["turns"]):
        asked = messages[: 2 * i + 1]
        assert turn["prompt_ids"] == tokenizer.encode_chat(asked, {"enable_thinking": False})
        assert turn["text"] == messages[2 * i + 1]["content"]
    assert len(messages[1]["content"]) > 1
    for given, sentence in (
        ("enable_thinking", "--template-arg must be NAME=VALUE"),
        ("enable_thinking=False", "write enable_thinking=false, as in JSON"),
        ("enabel_thinking=false", "takes no such argument; it takes enable_thinking."),
        ("messages=[]", "--template-arg messages: messages, special tokens and whether"),
    ):
        for command in (("generate", directory, "Hi"), ("chat", directory)):
            fails(*command, "--template-arg", given, match=sentence)


def test_text_is_data_never_sql_or_jinja(tiny_project: Project, tmp_path: Path) -> None:
    """Prompts, system messages, stop texts and paths full of syntax."""
    directory = tmp_path / 'it\'s; {{ 1 }} "x" é'
    tiny_project.directory.rename(directory)
    for arguments in (
        ("generate", directory, "-", "--max-tokens", 2),
        ("generate", directory, "-", "--max-tokens", 2, "--system", HOSTILE.replace("\x00", "")),
        ("generate", directory, "-", "--max-tokens", 2, "--stop", "'; {{ 7*7 }}"),
        ("logits", directory, "-"),
    ):
        value = succeeds(*arguments, stdin=HOSTILE.encode())
        assert 49 - 26 not in value["prompt_ids"] or "7*7" in HOSTILE
    with duckdb.connect(str(directory / "relama.duckdb")) as connection:
        assert connection.execute("select count(*) from tokens").fetchall() != [(0,)]


def test_new_in_a_hostile_path_from_hostile_names(tmp_path: Path) -> None:
    checkpoint = tmp_path / "check'; {{ point }}\n"
    write_tiny_llama(checkpoint)
    directory = tmp_path / "p'; drop {% x %}"
    succeeds("new", directory, "--model", checkpoint)
    assert "{{ point" not in (directory / "dbt_project.yml").read_text()
    assert succeeds("build", directory)["nodes"] > 40
    assert succeeds("build", directory)["already_built"]


def test_how_a_gguf_file_splits_text_is_asked_and_said(tmp_path: Path) -> None:
    tokens = {"tokenizer.ggml.pre": None, "tokenizer.ggml.bos_token_id": 0}
    model = write_gguf(tmp_path / "model.gguf", change=lambda writer: put(writer, tokens))
    (warning,) = succeeds("new", tmp_path / "asks", "--model", model)["warnings"]
    assert "relama new --tokenizer-pre NAME" in warning
    options = ("--model", model, "--tokenizer-pre")
    assert succeeds("new", tmp_path / "said", *options, "llama-bpe")["warnings"] == []
    definition = json.loads((tmp_path / "said" / "tokenizer" / "tokenizer.json").read_text())
    assert definition["model"]["ignore_merges"] is True
    fails(
        "new", tmp_path / "no", *options, "runes", match="'runes' that was given is not supported"
    )
    fails("new", tmp_path / "no", "--model", TINY_LLAMA, *options[2:], "smollm", match="GGUF files")
    assert not (tmp_path / "no").exists()


def test_a_tensor_name_full_of_syntax_is_refused(tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoint"
    write_tiny_llama(checkpoint)
    file = checkpoint / "model.safetensors"
    data = file.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    header["x'; drop table y; {{ z }}"] = header["model.norm.weight"]
    text = json.dumps(header).encode()
    file.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + length :])
    fails("new", tmp_path / "p", "--model", checkpoint, match="drop table")
    assert not (tmp_path / "p").exists()


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (["", "--max-tokens", "1"], "prompt is empty"),
        (["Hello", "--max-tokens", "0"], "max-tokens"),
        (["Hello", "--temperature", "-1"], "temperature"),
        (["Hello", "--temperature", "nan"], "temperature"),
        (["Hello", "--top-p", "-0.1"], "top_p"),
        (["Hello", "--top-p", "1.5"], "top_p"),
        (["Hello", "--top-k", "-1"], "top_k"),
        (["Hello", "--seed", "-1"], "seed"),
        (["Hello", "--stop", ""], "stop"),
        (["x" * 300], "context of 256"),
    ],
)
def test_bad_settings(built_tiny_project: Project, arguments: list[str], match: str) -> None:
    fails("generate", built_tiny_project.directory, *arguments, match=match)


def test_invalid_utf8_is_refused(built_tiny_project: Project) -> None:
    result = relama("generate", built_tiny_project.directory, "-", stdin=b"\xff\xfe")
    assert result.exit_code == 1
    assert "UTF-8" in result.stderr


def test_bad_directories(tmp_path: Path) -> None:
    fails("new", tmp_path / "p", "--model", tmp_path / "absent", match="does not exist")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("precious")
    fails("new", tmp_path / "mine", "--model", TINY_LLAMA, match="not a relama project")
    fails("new", tmp_path / "mine", "--model", TINY_LLAMA, "--force", match="not a relama project")
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "precious"
    for command in ("build", "docs", "chat"):
        fails(command, tmp_path / "mine", match="not a relama project")
    fails("generate", tmp_path / "mine", "Hi", match="not a relama project")
    succeeds("new", tmp_path / "p", "--model", TINY_LLAMA)
    fails("new", tmp_path / "p", "--model", TINY_LLAMA, match="--force")
    fails("generate", tmp_path / "p", "Hi", match="relama build")
    fails("new", tmp_path / "q", "--model", TINY_LLAMA, "--disable-pass", "x", match="no pass 'x'")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "p"]


def test_a_directory_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    fails("new", tmp_path / "file/a/p", "--model", TINY_LLAMA, match=f"{tmp_path / 'file'} is a")
    long = tmp_path / ("x" * 300)
    fails("new", long, "--model", TINY_LLAMA, match=f"{long}: File name too long.")
    fails("new", "/proc/relama/p", "--model", TINY_LLAMA, match="/proc/relama: No such file")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_an_operating_systems_error_is_one_sentence(
    tiny_project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    template = tiny_project.directory / "tokenizer" / "chat_template.jinja"
    template.unlink()
    template.mkdir()
    fails("chat", tiny_project.directory, match=f"Error: {template}: Is a directory.")

    def full(*arguments: object) -> None:
        raise OSError("No space left on device\nat byte 7")

    monkeypatch.setattr("relama.project.writer.stage", full)
    target = tmp_path / "a" / "b" / "p"
    fails("new", target, "--model", TINY_LLAMA, match="Error: No space left on device.")
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    ("overrides", "match"),
    [
        ({"model_type": "gpt2"}, "'gpt2' is not supported; supported: deepseek_v2"),
        ({"rope": {"rope_type": "su", "factor": 2.0}}, "'su' is not supported"),
        ({"intermediate_size": 80}, "expected (80, 48)"),
        ({"num_hidden_layers": 3}, "model.layers.2"),
        ({"mlp_bias": False}, "mlp.gate_proj.bias"),
    ],
)
def test_a_config_that_does_not_fit(tmp_path: Path, overrides: dict[str, Any], match: str) -> None:
    checkpoint = tmp_path / "checkpoint"
    shutil.copytree(TINY_LLAMA, checkpoint)
    config = json.loads((checkpoint / "config.json").read_text())
    if "rope" in overrides:
        overrides = {"rope_parameters": overrides["rope"]}
    (checkpoint / "config.json").write_text(json.dumps({**config, **overrides}))
    fails("new", tmp_path / "p", "--model", checkpoint, match=match)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint"]


def test_nan_weights_leave_nothing_behind(tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoint"
    shutil.copytree(TINY_LLAMA, checkpoint)
    file = checkpoint / "model.safetensors"
    data = bytearray(file.read_bytes())
    data[-4:] = b"\x00\x00\xc0\x7f"
    file.write_bytes(data)
    fails("new", tmp_path / "p", "--model", checkpoint, match="holds NaN or infinity")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint"]


def test_a_locked_database_is_named(tiny_project: Project) -> None:
    database = tiny_project.directory / "relama.duckdb"
    program = (
        f"import duckdb, time; c = duckdb.connect({str(database)!r}); "
        "print(1, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        try:
            for arguments in (
                ["generate", tiny_project.directory, "Hi"],
                ["logits", tiny_project.directory, "Hi"],
            ):
                fails(*arguments, match=f"is in use by process {holder.pid}; close it")
            fails("build", tiny_project.directory, "--full-refresh", match="is in use by process")
        finally:
            holder.kill()


def test_ctrl_c(tiny_project: Project) -> None:
    command = [sys.executable, "-m", "relama", "generate", str(tiny_project.directory)]
    with subprocess.Popen(
        [*command, "Hello", "--max-tokens", "200"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        # A test run in the background inherits that SIGINT is ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.read(1)
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
        assert b"Traceback" not in process.stderr.read()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_new_that_is_ended_leaves_nothing_behind(tmp_path: Path, number: signal.Signals) -> None:
    program = (
        "import time\n"
        "from relama.cli import main\n"
        "from relama.project import writer\n"
        "writer.stage = lambda *_: print(1, flush=True) or time.sleep(60)\n"
        "main()"
    )
    command = [sys.executable, "-c", program, "new", tmp_path / "a" / "p", "--model", TINY_LLAMA]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.readline()
        process.send_signal(number)
        assert process.wait(20) == 130
        assert b"Traceback" not in process.stderr.read()
    assert list(tmp_path.iterdir()) == []


def test_docs(tiny_project: Project) -> None:
    page = Path(succeeds("docs", tiny_project.directory)["file"])
    assert b"layer_00__attention_weights" in page.read_bytes()


@pytest.mark.parametrize("name", main.commands)
def test_every_command_and_option_is_documented(name: str) -> None:
    text = (ROOT / "docs" / "commands.md").read_text()
    sections = [part for part in text.split("\n## ") if part.startswith(f"relama {name} DIR")]
    assert len(sections) == 1
    options = {option for parameter in main.commands[name].params for option in parameter.opts}
    options -= {"directory", "prompt", "file", "--json"}
    assert [option for option in sorted(options) if f"`{option}" not in sections[0]] == []


def test_logits_that_are_no_numbers_are_an_error(tiny_project: Project, tmp_path: Path) -> None:
    directory = tiny_project.directory
    database, text = str(directory / "relama.duckdb"), tmp_path / "text"
    text.write_text("Hey")
    with duckdb.connect(database) as connection:
        connection.execute(
            "update embedding_weight set vector = list_transform(vector, lambda x: 'nan'::real) "
            "where row_id = 95"
        )
    sentence = "The logits are NaN or infinite"
    fails("generate", directory, "Hey", "--temperature", 0, match=sentence)
    fails("generate", directory, "Hey", "--temperature", 1, match=sentence)
    fails("generate", directory, "Hey", "--engine", "dbt", match=sentence)
    with duckdb.connect(database) as connection:
        rows = connection.execute("select token_id from tokens order by position")
        assert rows.fetchall() == [(46,), (75,), (95,)]
    fails("logits", directory, "Hey", match=sentence)
    fails("perplexity", directory, text, match=sentence)


@pytest.mark.parametrize("name", ["tiny", "tiny/models", "empty"])
def test_new_where_one_is(
    tiny_project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tiny_project.directory.parent / name)
    directory = ".." if "/" in name else "."
    before = list(Path(directory).rglob("*"))
    fails("new", directory, "--model", TINY_LLAMA, "--force", match="leave it with cd first")
    assert list(Path(directory).rglob("*")) == before
