"""The project's own record, `relama.json`: what it was made from, and how."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from generator.config import ModelConfig, model_config
from generator.errors import ProjectError

MARKER = "relama.json"

#: dbt's name of this repository, and of the package of macros that it is.
LIBRARY = "relama"

#: Positions of a page of the KV cache, see the macro `kv_page`.
PAGE_SIZE = 64

#: Set on every connection, dbt's and ours: see docs/decisions/0002-disabled-optimizers.md.
DISABLED_OPTIMIZERS = "statistics_propagation,join_order,build_side_probe_side"


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
