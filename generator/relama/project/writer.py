"""Writes a graph as a complete dbt project."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from relama import __version__, names
from relama.architectures import build_graph, graph_tensors, left_out
from relama.checkpoint import Checkpoint
from relama.config import RopeParameters
from relama.errors import InputError, ProjectError, RelamaError, UnsupportedError
from relama.graph import Graph
from relama.passes import PARALLELISM, run_passes
from relama.project.kept_graph import graph_fields
from relama.project.language_model import language_model_settings
from relama.project.macros import install_macros
from relama.project.manifest import (
    DISABLED_OPTIMIZERS,
    LIBRARY,
    MARKER,
    Project,
    config_fields,
    load_project,
    own_name,
)
from relama.project.models import model_inputs, write_models
from relama.project.package import write_package
from relama.project.render import render, write
from relama.project.sql_tokenizer import (
    Definition,
    alphabet_table,
    merges_table,
    tokenizer_settings,
    vocabulary_table,
)
from relama.project.staging import stage
from relama.rope import inverse_frequencies
from relama.runtime.tokenizer import ProjectTokenizer, write_tokenizer
from relama.sampling import sampling_csv, sampling_warnings
from relama.storage import STORAGES
from relama.targets import DEFAULT, Target

#: dbt's digest of a `packages.yml` that is not there: by it, dbt takes the lock file as it is.
_NO_PACKAGES = hashlib.sha1(b"", usedforsecurity=False).hexdigest()

#: What a new project's first step continues.
FIRST_PROMPT = "Once upon a time"


def write_project(
    directory: str | Path,
    checkpoint: Checkpoint,
    *,
    name: str | None = None,
    trace: bool = False,
    storage: str | None = None,
    target: Target = DEFAULT,
    kernels: Path | None = None,
    disabled_passes: Collection[str] = (),
    parallelism: int = PARALLELISM,
    overwrite: bool = False,
    on_start: Callable[[int], None] = lambda total: None,
    on_progress: Callable[[int], None] = lambda done: None,
    on_warning: Callable[[str], None] = lambda sentence: None,
) -> Project:
    """Writes a complete dbt project to `directory`, whole or not at all.

    Args:
        directory: must not exist, or be empty, or (with `overwrite`) be a relama project.
        checkpoint: what to compile.
        name: dbt's name of the project; from the directory's by default.
        trace: whether activations are tables by default.
        storage: how matrices are stored, one of the target's storages, or None for its usual one.
        target: the database that the project is for.
        kernels: the extension with native functions for arithmetic, see `relama.kernels`;
            without it, arithmetic is SQL.
        disabled_passes: names of passes to leave out.
        parallelism: parts of an operator that can run at once, see `run_passes`.
        overwrite: replace a project that relama wrote.
        on_start: called with the number of elements to stage.
        on_progress: called with the number of elements staged since the last call.
        on_warning: called with each sentence of what was assumed or left out.

    Raises:
        ProjectError: `directory` holds something else.
        InputError: dbt cannot call a project as the directory is called, or the target has no
            such storage.
        CheckpointError, UnsupportedError, GraphError: see `build_graph` and `stage`.
    """
    directory = Path(directory)
    storage = target.checked_storage(storage)
    _check_directory(directory, overwrite)
    graph = run_passes(build_graph(checkpoint), storage, disabled_passes, parallelism, target)
    name = own_name(directory) if name is None else name
    with _whole_or_nothing(directory) as temporary:
        write_tokenizer(checkpoint, temporary)
        tokenizer = ProjectTokenizer(temporary)
        on_start(sum(weight.rows * weight.columns for weight in graph.weights.values()))
        digest = stage(graph, graph_tensors(checkpoint), temporary / "weights", on_progress)
        definition = tokenizer.definition
        sql_tokenizer = _sql_tokenizer(definition)
        small = _stage_small_tables(graph, tokenizer, definition, temporary / "weights", target)
        meta_digest = _digest([[config_fields(graph.config), sql_tokenizer], small])
        written = _digest([digest, meta_digest, storage, sorted(disabled_passes), parallelism])
        prompt = [i for i in tokenizer.encode(FIRST_PROMPT) if i < graph.config.vocab_size]
        write_models(
            graph,
            temporary,
            project=name,
            tokenizer=sql_tokenizer,
            digest=meta_digest,
            parallelism=parallelism,
            target=target,
        )
        settings = {
            "project": name,
            "target": target,
            **target.settings(storage),
            "config": graph.config,
            "windows": graph.windows if target.cache_by_layer else {},
            "trace": trace,
            "storage": STORAGES[storage],
            "kernels": kernels is not None,
            "prompt_token_ids": prompt,
            "checkpoint": digest,
            "written": written,
            "parallelism": parallelism,
            "library": name == LIBRARY,
        }
        _write_settings(temporary, checkpoint, settings)
        _write_macros(temporary, kernels)
        if target.has_batches:
            write_package(
                graph,
                temporary,
                settings,
                tokenizer=sql_tokenizer,
                language_model=language_model_settings(graph, tokenizer),
                digest=meta_digest,
            )
        marker = {
            "relama": __version__,
            "project": name,
            "source": str(checkpoint.path.resolve()),
            "trace": trace,
            "storage": storage,
            "target": target.name,
            "disabled_passes": sorted(disabled_passes),
            "parallelism": parallelism,
            "config": config_fields(graph.config),
            **graph_fields(graph),
            "inputs": model_inputs(graph, target),
        }
        (temporary / MARKER).write_text(json.dumps(marker, indent=2) + "\n")
    for sentence in (
        *checkpoint.warnings,
        *left_out(checkpoint),
        *sampling_warnings(checkpoint.generation_config),
    ):
        on_warning(sentence)
    for sentence in _chat_warnings(tokenizer):
        on_warning(sentence)
    if target.has_batches and "unsupported" in sql_tokenizer:
        on_warning(
            "rows and relama.tokenize do not work with this tokenizer: "
            + sql_tokenizer["unsupported"]
        )
    return load_project(directory)


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]


def _chat_warnings(tokenizer: ProjectTokenizer) -> list[str]:
    """Whether a question can be put into the chat template, which a checkpoint need not have."""
    if tokenizer.chat_template is None:
        return []
    try:
        tokenizer.render_chat([{"role": "user", "content": "Hello"}])
    except RelamaError as error:
        return [f"{error}; a plain prompt works, in rows with chat=false."]
    return []


def macros_directory() -> Path:
    """The folder of the dbt package's macros: in the wheel, or at the top of a checkout."""
    package = Path(__file__).parent.parent
    installed = package / "macros"
    return installed if installed.is_dir() else package.parents[1] / "macros"


def _check_directory(directory: Path, overwrite: bool) -> None:
    if file := next((parent for parent in directory.parents if parent.is_file()), None):
        raise ProjectError(f"{directory} cannot be written: {file} is a file.")
    if not directory.exists() and not directory.is_symlink():
        return
    if not directory.is_dir():
        raise ProjectError(f"{directory} exists and is not a directory.")
    if any(directory.iterdir()):
        _check_replaced(directory, overwrite)
    if Path.cwd().is_relative_to(directory.resolve()):
        raise ProjectError(
            f"{directory} is what you are in, and is replaced as a whole: leave it with cd first."
        )


def _check_replaced(directory: Path, overwrite: bool) -> None:
    if not (directory / MARKER).is_file():
        raise ProjectError(
            f"{directory} exists and is not a relama project; choose another directory."
        )
    if not overwrite:
        raise ProjectError(f"{directory} already holds a project; use --force to replace it.")


@contextmanager
def _whole_or_nothing(directory: Path) -> Iterator[Path]:
    """A temporary directory beside `directory` that takes its place on success only."""
    absent = [parent for parent in directory.parents if not parent.exists()]
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".relama-", dir=directory.parent) as workspace:
            temporary = Path(workspace, "new")
            temporary.mkdir()
            yield temporary
            if directory.exists():
                directory.rename(Path(workspace, "old"))
            temporary.rename(directory)
    except BaseException:
        with suppress(OSError):
            for parent in absent:
                parent.rmdir()
        raise


def _stage_small_tables(
    graph: Graph,
    tokenizer: ProjectTokenizer,
    definition: Definition,
    directory: Path,
    target: Target,
) -> str:
    """Stages the rotary frequencies and the tokenizer's tables beside the tensors.

    Returns:
        A digest of what was written.
    """
    texts = [_token_text(tokenizer, i) for i in range(graph.config.vocab_size)]
    tables = {
        names.inverse_frequencies(angles): _frequencies(rope, graph.config.head_dim)
        for angles, rope in graph.rotary.items()
    }
    tables["vocabulary"] = vocabulary_table(definition, texts)
    if target.has_batches:
        tables |= {"merges": merges_table(definition), "alphabet": alphabet_table(definition)}
    digest = hashlib.sha256()
    for name, table in tables.items():
        pq.write_table(table, directory / f"{name}.parquet")
        digest.update(repr(table.to_pydict()).encode())
    return digest.hexdigest()


def _frequencies(rope: RopeParameters, head_dim: int) -> pa.Table:
    """The inverse frequencies of a rotary embedding as a table of one row.

    Of two where there are long factors, which come second.
    """
    rows = [inverse_frequencies(rope, head_dim).tolist()]
    if rope.long_factor:
        rows.append(inverse_frequencies(rope, head_dim, is_long=True).tolist())
    vectors = pa.array(rows, pa.list_(pa.float32()))
    return pa.table({"row_id": pa.array(range(len(rows)), pa.int32()), "vector": vectors})


def _sql_tokenizer(definition: Definition) -> dict[str, Any]:
    """The settings of the macro `tokenize`, or why there are none."""
    try:
        return tokenizer_settings(definition)
    except UnsupportedError as error:
        return {"unsupported": str(error)}


def _token_text(tokenizer: ProjectTokenizer, token_id: int) -> str:
    """The text of a token; rows of the embedding that are of no token have none."""
    try:
        return tokenizer.token(token_id)
    except InputError:
        return ""


def _write_settings(directory: Path, checkpoint: Checkpoint, settings: Mapping[str, Any]) -> None:
    values = {
        **settings,
        "disabled_optimizers": DISABLED_OPTIMIZERS,
        "source_name": re.sub(r"[^\w.\- ]", "_", checkpoint.path.name),
    }
    target = settings["target"]
    for file in ("dbt_project.yml", "README.md"):
        write(directory / file, render(file, **values))
    write(directory / "profiles.yml", render(f"profiles_{target.name}.yml", **values))
    write(directory / ".gitignore", "target/\nlogs/\n*.duckdb\n*.duckdb.wal\n.user.yml\n")
    write(directory / "seeds" / "sampling.csv", sampling_csv(checkpoint.generation_config))
    write(directory / "seeds" / "_seeds.yml", render("seeds.yml", **settings))
    (directory / "tests").mkdir()
    (directory / "tests" / ".gitkeep").touch()
    # While dbt parses, this is what tells language models from other packages.
    marker = "{% macro relama_language_model() -%}{{ return(true) }}{%- endmacro %}\n"
    write(directory / "macros" / "relama_language_model.sql", marker)


def _write_macros(directory: Path, kernels: Path | None) -> None:
    """The macros and the extension, and where dbt looks for them.

    `dbt deps` removes everything in `packages/` and installs what `package-lock.yml` says:
    the folder `relama` once more. There is no `packages.yml`, since dbt would look for what it
    names below the project that is run: another project names `package` and `relama` itself.
    """
    package = directory / LIBRARY
    shutil.copytree(macros_directory(), package / "macros")
    if kernels is not None:
        (package / "kernels").mkdir()
        shutil.copyfile(kernels, package / "kernels" / kernels.name)
    settings = (
        f'name: relama\nversion: "{__version__}"\nconfig-version: 2\nmacro-paths: ["macros"]\n'
    )
    write(package / "dbt_project.yml", settings)
    write(directory / "package-lock.yml", render("package-lock.yml", digest=_NO_PACKAGES))
    install_macros(directory)
