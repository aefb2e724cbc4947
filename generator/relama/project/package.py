"""Writes `package/`: the language model as a package of another project.

What answers rows, and no more: the forward pass as a function, a model for each layer, the
tokenizer's tables, and one model that makes all tables of weights. dbt takes some milliseconds
over every node of a package in every command of the project above.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from relama import names
from relama.graph import Graph
from relama.project.describe import layer_properties, operator_properties
from relama.project.models import (
    Place,
    fixed_properties,
    operator_ctes,
    operator_imports,
    operator_sql,
    staged_names,
)
from relama.project.render import render, write, write_yaml
from relama.project.weights import weight_table
from relama.targets import Target

Properties = dict[str, Any]


def write_package(
    graph: Graph,
    project: Path,
    settings: Mapping[str, Any],
    tokenizer: Mapping[str, Any],
    language_model: Mapping[str, Any],
    digest: str,
) -> None:
    """Writes the folder `package` of a project, see `write_models` for the arguments.

    Args:
        settings: what `dbt_project.yml` and its like read.
    """
    directory, target = project / "package", settings["target"]
    models = directory / "models"
    write(directory / "dbt_project.yml", render("package/dbt_project.yml", **settings))
    write(
        models / "_sources.yml",
        render(
            "package/sources.yml",
            staged=staged_names(graph, target),
            caches=names.kv_caches(graph.config.num_hidden_layers),
            pages=names.all_kv_pages(graph.config.num_hidden_layers),
        ),
    )
    _write_weights(graph, models, digest)
    _write_layers(graph, models / "layers", settings["parallelism"], target)
    for name in ("vocabulary", "alphabet", "merges"):
        write(models / "tokenizer" / f"{name}.sql", render(f"{name}.sql"))
    tables = fixed_properties("tokenizer.yml", graph, tokenizer=tokenizer, digest=digest)
    _write_properties(models / "tokenizer" / "_models.yml", tables)

    whole = names.layer_models(graph.config.num_hidden_layers)
    write(models / "forward_pass.sql", render("package/forward_pass.sql", layers=whole))
    language_model = {**language_model, "written": settings["written"]}
    function = fixed_properties("package/forward_pass.yml", graph, language_model=language_model)
    weights = fixed_properties("package/weights.yml", graph)
    _write_properties(models / "_models.yml", [*weights, *function])
    # Links stay links where dbt installs the package; where it copies, so does what they lead to.
    (directory / "weights").symlink_to(Path("..", "weights"), target_is_directory=True)
    macro = Path("macros", "relama_language_model.sql")
    write(directory / macro, (project / macro).read_text())


def _write_weights(graph: Graph, models: Path, digest: str) -> None:
    frequencies = {
        "name": "inverse_frequencies",
        "parts": [{"tensor": "inverse_frequencies", "rows": 1}],
        "storage": "float32",
        "blocks": 0,
        "digest": digest,
    }
    tables = [frequencies, *map(weight_table, graph.weights.values())]
    write(models / "weights.sql", render("package/weights.sql", tables=tables))


def _write_layers(graph: Graph, directory: Path, parallelism: int, target: Target) -> None:
    """A model for each layer with all its operators, and those before and behind the layers."""
    place = Place(target, parallelism, packaged=True)
    layers = range(graph.config.num_hidden_layers)
    before = ["step_input", "rotary_angles", "paged"]
    properties = fixed_properties("layers.yml", graph, target=target)
    frequencies = place.weight("inverse_frequencies")
    for name in before:
        sql = render(
            f"{name}.sql", packaged=True, config=graph.config, inverse_frequencies=frequencies
        )
        write(directory / f"{name}.sql", sql)
    for operator in graph.layer(None):
        if operator.name == "logits":  # Of the head, materializations take what they need.
            continue
        write(directory / f"{operator.name}.sql", operator_sql(graph, operator, place))
        properties.append(operator_properties(graph, operator))
        before += [] if operator.inputs else [operator.name]
    for layer in layers:
        sql = _layer_sql(graph, layer, before if layer == 0 else [], place)
        write(directory / f"{names.layer_model(layer)}.sql", sql)
        properties.append(layer_properties(graph, layer))
    _write_properties(directory / "_models.yml", properties)


def _layer_sql(graph: Graph, layer: int, before: list[str], place: Place) -> str:
    operators = [o for o in graph.layer(layer) if not o.computes.only_traced]
    made = {operator.name for operator in operators}
    imports: dict[str, str] = {}
    for operator in operators:
        imports |= operator_imports(operator, place, made)
    return render(
        "package/layer.sql",
        layer=layer,
        before=before,
        imports=imports,
        ctes=[operator_ctes(graph, operator, place) for operator in operators],
        keys=names.parsed(graph.appended(layer).name).base,
        hidden=names.parsed(operators[-1].name).base,
    )


def _write_properties(path: Path, models: list[Properties]) -> None:
    write_yaml(path, {"models": list(_without_tests(models))})


def _without_tests(models: list[Properties]) -> Iterator[Properties]:
    """The entries without data tests, which are those of the project itself."""
    for model in models:
        model = {key: value for key, value in model.items() if key != "data_tests"}
        model["columns"] = [
            {key: value for key, value in column.items() if key != "data_tests"}
            for column in model.get("columns", ())
        ]
        yield model
