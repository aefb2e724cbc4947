"""Writes a graph as a complete dbt project."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jinja2
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from generator import __version__
from generator.architectures import build_graph
from generator.checkpoint import Checkpoint
from generator.config import ModelConfig, model_config
from generator.errors import InputError, ProjectError
from generator.graph import Graph, Operator, Weight
from generator.passes import run_passes
from generator.project.describe import (
    COLOURS,
    kv_cache_name,
    kv_cache_properties,
    operator_comment,
    operator_properties,
    weight_properties,
)
from generator.project.staging import stage, staged_name, staged_tensors
from generator.rope import inverse_frequencies
from generator.runtime.tokenizer import ProjectTokenizer, write_tokenizer

MARKER = "relama.json"

#: See `templates/profiles.yml`, and docs/decisions/0002-optimizers.md.
DISABLED_OPTIMIZERS = "statistics_propagation,join_order,build_side_probe_side"

#: What a new project's first step continues.
FIRST_PROMPT = "Once upon a time"

# Generated files hold dbt's Jinja, so ours has delimiters of its own.
_TEMPLATES = jinja2.Environment(
    loader=jinja2.PackageLoader("generator.project"),
    block_start_string="<%",
    block_end_string="%>",
    variable_start_string="<<",
    variable_end_string=">>",
    comment_start_string="<#",
    comment_end_string="#>",
    undefined=jinja2.StrictUndefined,
    keep_trailing_newline=True,
    autoescape=False,
)


@dataclass(frozen=True)
class Project:
    """What `relama.json` says of a generated project.

    Attributes:
        directory: where it lies.
        name: dbt's name of the project.
        source: the checkpoint it was made from.
        config: the model's hyperparameters.
        trace: whether activations are tables by default.
    """

    directory: Path
    name: str
    source: str
    config: ModelConfig
    trace: bool


def load_project(directory: str | Path) -> Project:
    """Reads the project at `directory`.

    Raises:
        ProjectError: there is none, or relama did not write it.
    """
    directory = Path(directory)
    try:
        marker = json.loads((directory / MARKER).read_text())
        return Project(
            directory,
            marker["project"],
            marker["source"],
            model_config(marker["config"]),
            marker["trace"],
        )
    except (OSError, ValueError, KeyError, TypeError):
        raise ProjectError(
            f"{directory} is not a relama project (it has no readable {MARKER}); "
            f"make one with: relama new {directory} --model PATH"
        ) from None


def write_project(
    directory: str | Path,
    checkpoint: Checkpoint,
    *,
    trace: bool = False,
    disabled_passes: Collection[str] = (),
    overwrite: bool = False,
    on_start: Callable[[int], None] = lambda total: None,
    on_progress: Callable[[int], None] = lambda done: None,
) -> Project:
    """Writes a complete dbt project to `directory`, whole or not at all.

    Args:
        directory: must not exist, or be empty, or (with `overwrite`) be a relama project.
        checkpoint: what to compile.
        trace: whether activations are tables by default.
        disabled_passes: names of passes to leave out.
        overwrite: replace a project that relama wrote.
        on_start: called with the number of elements to stage.
        on_progress: called with the number of elements staged since the last call.

    Raises:
        ProjectError: `directory` holds something else.
        CheckpointError, UnsupportedError, GraphError: see `build_graph` and `stage`.
    """
    directory = Path(directory)
    _check_target(directory, overwrite)
    graph = run_passes(build_graph(checkpoint), disabled_passes)
    name = project_name(directory)
    with _whole_or_nothing(directory) as temporary:
        write_tokenizer(checkpoint, temporary)
        tokenizer = ProjectTokenizer(temporary)
        on_start(sum(weight.rows * weight.columns for weight in graph.weights.values()))
        stage(graph, checkpoint.tensors, temporary / "weights", on_progress)
        _stage_small_tables(graph, tokenizer, temporary / "weights")
        prompt = [i for i in tokenizer.encode(FIRST_PROMPT) if i < graph.config.vocab_size]
        write_models(graph, temporary, project=name)
        _write_settings(graph, temporary, checkpoint, name, trace, prompt)
        _write_package(temporary)
        marker = {
            "relama": __version__,
            "project": name,
            "source": str(checkpoint.path.resolve()),
            "trace": trace,
            "disabled_passes": sorted(disabled_passes),
            "config": config_fields(graph.config),
        }
        (temporary / MARKER).write_text(json.dumps(marker, indent=2) + "\n")
    return load_project(directory)


def write_models(graph: Graph, directory: Path, project: str) -> None:
    """Writes `models/` and `analyses/`: everything that depends on the graph alone."""
    models = directory / "models"
    for weight in graph.weights.values():
        folder = models / "weights" / (_layer_folder(weight.layer) or "")
        _write(folder / f"{weight.name}.sql", _weight_sql(weight))
    for operator in graph.operators.values():
        folder = models / "layers" / (_layer_folder(operator.layer) or "")
        _write(folder / f"{operator.name}.sql", _operator_sql(graph, operator))
    layers = range(graph.config.num_hidden_layers)
    for layer in layers:
        _write(
            models / "state" / f"{kv_cache_name(layer)}.sql",
            _render("kv_cache.sql", layer=layer),
        )
    config = graph.config
    for name in ("step_input", "rotary_angles", "next_token"):
        _write(models / "layers" / f"{name}.sql", _render(f"{name}.sql", config=config))
    for name in ("step", "tokens", "transcript"):
        _write(models / "state" / f"{name}.sql", _render(f"{name}.sql", config=config))
    for name in ("inverse_frequencies", "vocabulary"):
        sql = f"select * from {{{{ source('staged_weights', '{name}') }}}}\n"
        _write(models / "weights" / f"{name}.sql", sql)

    for index in (None, *layers):
        subfolder = _layer_folder(index) or ""
        label = f"_{subfolder or 'models'}.yml"
        weights = [weight_properties(w) for w in graph.weights.values() if w.layer == index]
        operators = [operator_properties(graph, operator) for operator in graph.layer(index)]
        if index is None:
            weights += _fixed_properties("weights.yml", config)
            operators = _fixed_properties("layers.yml", config) + operators
        _write_yaml(models / "weights" / subfolder / label, {"models": weights})
        _write_yaml(models / "layers" / subfolder / label, {"models": operators})
    caches = [kv_cache_properties(graph, layer) for layer in layers]
    _write_yaml(
        models / "state" / "_models.yml",
        {"models": _fixed_properties("state.yml", config) + caches},
    )
    _write(models / "_sources.yml", _sources(graph))
    _write(models / "_exposures.yml", _render("exposures.yml", project=project))

    head = graph.operators["logits"].weight
    hidden = ["embedding", *(f"layer_{layer:02d}__down_proj" for layer in layers), "final_norm"]
    analyses = directory / "analyses"
    _write(analyses / "candidates.sql", _render("candidates.sql"))
    _write(analyses / "score.sql", _render("score.sql", config=config, head_weight=head))
    _write(analyses / "hidden_states.sql", _render("hidden_states.sql", names=hidden))


def config_fields(config: ModelConfig) -> dict[str, Any]:
    """`ModelConfig` as the fields of `config.json`, which `model_config` reads back."""
    fields = asdict(config)
    fields["rope_parameters"] = fields.pop("rope")
    return fields


def project_name(directory: Path) -> str:
    """dbt's name for a project in `directory`: lower-case letters, digits, underscores."""
    name = re.sub(r"[^a-z0-9]+", "_", directory.resolve().name.lower()).strip("_")
    if not name or name[0].isdigit():
        name = f"model_{name}".rstrip("_")
    return "relama_model" if name in ("relama", "dbt", "dbt_duckdb") else name[:40]


def macros_directory() -> Path:
    """The folder of the dbt package's macros: in the wheel, or at the top of a checkout."""
    package = Path(__file__).parent.parent
    installed = package / "macros"
    return installed if installed.is_dir() else package.parent / "macros"


def _check_target(directory: Path, overwrite: bool) -> None:
    if not directory.exists() and not directory.is_symlink():
        return
    if not directory.is_dir():
        raise ProjectError(f"{directory} exists and is not a directory.")
    if not any(directory.iterdir()):
        return
    if not (directory / MARKER).is_file():
        raise ProjectError(
            f"{directory} exists and is not a relama project; choose another directory."
        )
    if not overwrite:
        raise ProjectError(f"{directory} already holds a project; use --force to replace it.")


@contextmanager
def _whole_or_nothing(directory: Path) -> Iterator[Path]:
    """A temporary directory beside `directory` that takes its place on success only."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=".relama-", dir=directory.parent))
    try:
        temporary.chmod(0o755)
        yield temporary
        if directory.exists():
            shutil.rmtree(directory)
        temporary.rename(directory)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _stage_small_tables(graph: Graph, tokenizer: ProjectTokenizer, directory: Path) -> None:
    """Stages the rotary frequencies and the vocabulary beside the tensors."""
    frequencies = inverse_frequencies(graph.config.rope, graph.config.head_dim)
    vectors = pa.array([frequencies.tolist()], pa.list_(pa.float32()))
    row = pa.table({"row_id": pa.array([0], pa.int32()), "vector": vectors})
    pq.write_table(row, directory / "inverse_frequencies.parquet")
    ids = list(range(graph.config.vocab_size))
    tokens = pa.array([_token_text(tokenizer, i) for i in ids], pa.string())
    table = pa.table({"token_id": pa.array(ids, pa.int32()), "token": tokens})
    pq.write_table(table, directory / "vocabulary.parquet")


def _token_text(tokenizer: ProjectTokenizer, token_id: int) -> str:
    """The text of a token; rows that only pad the embedding have none."""
    return tokenizer.token(token_id) if token_id < tokenizer.vocab_size else ""


def _write_settings(
    graph: Graph,
    directory: Path,
    checkpoint: Checkpoint,
    name: str,
    trace: bool,
    prompt_token_ids: list[int],
) -> None:
    values = {
        "project": name,
        "config": graph.config,
        "trace": trace,
        "prompt_token_ids": prompt_token_ids,
        "disabled_optimizers": DISABLED_OPTIMIZERS,
        "source_name": re.sub(r"[^\w.\- ]", "_", checkpoint.path.name),
    }
    for file in ("dbt_project.yml", "profiles.yml", "README.md"):
        _write(directory / file, _render(file, **values))
    _write(directory / ".gitignore", "target/\nlogs/\n*.duckdb\n*.duckdb.wal\n.user.yml\n")
    _write(directory / "seeds" / "sampling.csv", _sampling_csv(checkpoint.generation_config))
    shutil.copy(
        Path(__file__).parent / "templates" / "seeds.yml", directory / "seeds" / "_seeds.yml"
    )
    for folder in ("tests", "macros"):
        (directory / folder).mkdir()
        (directory / folder / ".gitkeep").touch()


def _sampling_csv(generation_config: dict[str, Any]) -> str:
    """The checkpoint's own sampling settings where it asks for sampling, else greedy."""
    temperature, top_k, top_p = 0.0, 0, 1.0
    if generation_config.get("do_sample"):
        temperature = float(generation_config.get("temperature") or 1.0)
        top_k = int(generation_config.get("top_k") or 0)
        top_p = float(generation_config.get("top_p") or 1.0)
    try:
        check_sampling(temperature, top_k, top_p)
    except InputError:
        temperature, top_k, top_p = 0.0, 0, 1.0
    return f"temperature,top_k,top_p,seed\n{temperature},{top_k},{top_p},0\n"


def check_sampling(temperature: float, top_k: int, top_p: float, seed: int = 0) -> None:
    """Raises `InputError` where a sampling setting is out of range."""
    if not 0 <= temperature <= 100:
        raise InputError(f"temperature must be between 0 (greedy) and 100, not {temperature}.")
    if not 0 <= top_k < 2**31:
        raise InputError(f"top_k must be 0 (off) or a positive whole number, not {top_k}.")
    if not 0 < top_p <= 1:
        raise InputError(f"top_p must be above 0 and at most 1, not {top_p}.")
    if not 0 <= seed < 2**63:
        raise InputError(f"seed must be a whole number from 0 to 2^63 - 1, not {seed}.")


def _write_package(directory: Path) -> None:
    """The macros as a local package: installed already, and found again by `dbt deps`."""
    package = directory / "packages" / "relama"
    shutil.copytree(macros_directory(), package / "macros")
    settings = (
        f'name: relama\nversion: "{__version__}"\nconfig-version: 2\nmacro-paths: ["macros"]\n'
    )
    _write(package / "dbt_project.yml", settings)
    _write(directory / "packages.yml", "packages:\n  - local: packages/relama\n")
    installed = directory / "dbt_packages"
    installed.mkdir()
    (installed / "relama").symlink_to(Path("..") / "packages" / "relama")


def _weight_sql(weight: Weight) -> str:
    parts, offset = [], 0
    for part in weight.parts:
        parts.append(
            {
                "staged": staged_name(part.tensor),
                "staged_bias": staged_name(part.bias) if part.bias else None,
                "offset": offset,
            }
        )
        offset += part.rows
    return _render("weight.sql", parts=parts, has_bias=weight.has_bias)


def _operator_sql(graph: Graph, operator: Operator) -> str:
    weight = graph.weights[operator.weight] if operator.weight else None
    body = _render(
        f"{operator.kind}.sql",
        inputs=operator.inputs,
        weight=operator.weight,
        attributes=operator.attributes,
        config=graph.config,
        rows=weight.rows if weight else None,
        columns=weight.columns if weight else None,
        bias=weight.has_bias if weight else False,
        cache=kv_cache_name(operator.layer) if operator.layer is not None else None,
    )
    config = "{{ config(materialized=relama.activation()) }}\n\n"
    return f"{config}{operator_comment(graph, operator)}\n{body}"


def _sources(graph: Graph) -> str:
    staged = [(item.name, item.tensor) for item in staged_tensors(graph)]
    staged.append(("inverse_frequencies", "the rotary embedding's inverse frequencies"))
    staged.append(("vocabulary", "the tokenizer's vocabulary"))
    caches = [kv_cache_name(layer) for layer in range(graph.config.num_hidden_layers)]
    return _render("sources.yml", staged=staged, caches=caches)


def _fixed_properties(template: str, config: ModelConfig) -> list[dict[str, Any]]:
    models = yaml.safe_load(_render(template, config=config, colours=COLOURS))["models"]
    return list(models)


def _layer_folder(layer: int | None) -> str | None:
    return None if layer is None else f"layer_{layer:02d}"


def _render(template: str, **values: Any) -> str:
    return _TEMPLATES.get_template(template).render(**values)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _write_yaml(path: Path, content: dict[str, Any]) -> None:
    _write(path, yaml.safe_dump(content, sort_keys=False, width=100, allow_unicode=True))
