"""The project's own record, `relama.json`: what it was made from, and how."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from relama import names
from relama.config import ModelConfig, RopeParameters
from relama.errors import InputError, ProjectError
from relama.project.kept_graph import KeptGraph, kept_graph
from relama.targets import DEFAULT, Target, target_named

MARKER = "relama.json"

#: dbt's name of this repository, and of the package of macros that it is.
LIBRARY = "relama"

#: Positions of a page of the KV cache, see the macro `kv_page`.
PAGE_SIZE = 64

#: Set on every connection, dbt's and ours: see docs/decisions/0002-disabled-optimizers.md.
DISABLED_OPTIMIZERS = "statistics_propagation,join_order,build_side_probe_side"


#: Names that dbt refuses (BANNED_PROJECT_NAMES of dbt-core), what its Jinja gives models, which
#: the macros of a package of the name would hide, and words that YAML takes for values.
_RESERVED = frozenset(
    f"""
    {LIBRARY}
    _sql_results adapter api column config context database env env_var exceptions execute flags
    fromjson fromyaml graph invocation_id load_agate_table load_result log model modules
    post_hooks pre_hooks ref render return run_started_at schema source sql sql_now
    store_raw_result store_result target this tojson toyaml try_or_compiler_error var write
    adapter_macro builtins compiled_code context_macro_stack dbt_metadata_envs dbt_version debug
    defer_relation diff_of_two_dicts dispatch doc function invocation_args_dict local_md5 metric
    print project_name selected_resources set set_strict source_node statement submit_python_job
    thread_id validation zip zip_strict
    false n no none null off on true y yes
    """.split()
)


#: The fields of the graph, see `kept_graph`.
_GRAPH = {"operators", "weights", "inputs", "windows"}


@dataclass(frozen=True)
class Project:
    """What `relama.json` says of a generated project.

    Attributes:
        directory: where it lies.
        name: dbt's name of the project.
        source: the checkpoint it was made from.
        config: the model's hyperparameters.
        trace: whether activations are tables by default.
        storage: how matrices are stored.
        target: the database that it was written for.
        graph: what it computes, with all shapes.
    """

    directory: Path
    name: str
    source: str
    config: ModelConfig
    trace: bool
    storage: str
    target: Target
    graph: KeptGraph

    @property
    def kv_caches(self) -> list[str]:
        """The cache of keys and values of each layer, in order, or that of all."""
        if not self.target.cache_by_layer:
            return [names.KV_CACHE]
        return names.kv_caches(self.config.num_hidden_layers)

    @property
    def kv_pages(self) -> list[str]:
        """The pages of each layer's cache, in order, where the target has pages."""
        if not self.target.cache_by_layer:
            return []
        return names.all_kv_pages(self.config.num_hidden_layers)

    @property
    def windows(self) -> Mapping[int, int]:
        """Layers whose caches lose what their window has left behind, see `State.forget_unseen`."""
        return self.graph.windows if self.target.cache_by_layer else {}

    @property
    def state_tables(self) -> list[str]:
        """What holds the state of sequences, as the macro `_state_tables` creates it."""
        return ["tokens", *self.kv_caches, *self.kv_pages]


def load_project(directory: str | Path) -> Project:
    """Reads the project at `directory`.

    Raises:
        ProjectError: there is none, or relama did not write it, or an older one did.
    """
    directory = Path(directory)
    try:
        marker = json.loads((directory / MARKER).read_text())
        if "project" in marker and not marker.keys() >= _GRAPH:
            raise ProjectError(
                f"{directory} was written by an older relama, whose {MARKER} has no "
                f"'{min(_GRAPH - marker.keys())}'; write it anew with: "
                f"relama new {directory} --force --model PATH"
            )
        return Project(
            directory,
            marker["project"],
            marker["source"],
            _config_of(marker["config"]),
            marker["trace"],
            marker["storage"],
            target_named(marker.get("target", DEFAULT.name)),
            kept_graph(**{field: marker[field] for field in _GRAPH}),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise ProjectError(
            f"{directory} is not a relama project (it has no readable {MARKER}); "
            f"make one with: relama new {directory} --model PATH"
        ) from None


def config_fields(config: ModelConfig) -> dict[str, Any]:
    """`ModelConfig` as JSON has it."""
    return asdict(config)


def _config_of(fields: Mapping[str, Any]) -> ModelConfig:
    """What `config_fields` has given. Raises `TypeError` or `KeyError` for anything else."""
    rope = dict(fields["rope"])
    factors = {key: tuple(rope.pop(key, ())) for key in ("short_factor", "long_factor")}
    return ModelConfig(**{**fields, "rope": RopeParameters(**{**rope, **factors})})


def own_name(directory: Path) -> str:
    """dbt's name for a project in `directory`: lower-case letters, digits, underscores.

    Raises:
        InputError: the directory's name has none of these, or is one that dbt reserves.
    """
    own = directory.resolve().name
    name = re.sub(r"[^a-z0-9]+", "_", own.lower()).strip("_")
    name = (f"model_{name}" if name[:1].isdigit() else name)[:40].rstrip("_")
    if not name:
        raise InputError(
            f"dbt cannot call a project '{own}', which has no Latin letter or digit; choose "
            "another directory, or a name, such as --name language_model."
        )
    if is_reserved(name):
        raise InputError(
            f"dbt cannot call a project '{name}', a name that it reserves; choose another "
            f"directory, or a name, such as --name {_free_name(name)}."
        )
    return name


def checked_name(name: str) -> str:
    """A name that a user chose. Raises `InputError` where dbt would not take it."""
    if not re.fullmatch(r"[a-z_][a-z0-9_]{0,79}", name):
        raise InputError(
            f"'{name}' cannot be the name of a dbt project; "
            "give lower-case letters, digits and underscores, at most 80."
        )
    if is_reserved(name):
        raise InputError(
            f"'{name}' is reserved by dbt; choose another name, such as {_free_name(name)}."
        )
    return name


def is_reserved(name: str) -> bool:
    """Whether dbt, or YAML, has a meaning of its own for a name."""
    return name in _RESERVED or name == "dbt" or name.startswith("dbt_")


def _free_name(reserved: str) -> str:
    return f"model_{reserved}" if reserved.startswith("dbt") else f"{reserved}_model"
