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
    model_before_layers,
    operator_ctes,
    operator_imports,
    operator_sql,
    properties_before_layers,
    staged_names,
)
from relama.project.render import render, write, write_yaml
from relama.project.weights import weight_table

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
    place = Place(target, settings["parallelism"], packaged=True)
    _write_layers(graph, settings["project"], directory, place)
    for name in ("vocabulary", "alphabet", "merges"):
        write(models / "tokenizer" / f"{name}.sql", render(f"{name}.sql"))
    of_tokenizer = fixed_properties("tokenizer.yml", graph, tokenizer=tokenizer, digest=digest)
    _write_properties(models / "tokenizer" / "_models.yml", of_tokenizer)

    whole = names.layer_models(graph.config.num_hidden_layers)
    sql = render("package/forward_pass.sql", layers=whole, config=graph.config)
    write(models / "forward_pass.sql", sql)
    language_model = {**language_model, "written": settings["written"]}
    function = fixed_properties("package/forward_pass.yml", graph, language_model=language_model)
    tables = _weight_tables(graph, digest)
    weights = fixed_properties("package/weights.yml", graph, tables=tables)
    parts = [part for table in tables for part in table["parts"]]
    tensors = [part[key] for part in parts for key in ("tensor", "bias") if key in part]
    write(models / "weights.sql", render("package/weights.sql", tensors=tensors))
    _write_properties(models / "_models.yml", [*weights, *function])
    # Links stay links where dbt installs the package; where it copies, so does what they lead to.
    (directory / "weights").symlink_to(Path("..", "weights"), target_is_directory=True)
    macro = Path("macros", "relama_language_model.sql")
    write(directory / macro, (project / macro).read_text())


def _weight_tables(graph: Graph, digest: str) -> list[Properties]:
    """The tables that the model `weights` makes, as its `meta` has them."""
    frequencies = [
        {
            "name": name,
            "parts": [{"tensor": name, "rows": 2 if rope.long_factor else 1}],
            "storage": "float32",
            "blocks": 0,
            "num_experts": 0,
            "digest": digest,
        }
        for name, rope in (
            (names.inverse_frequencies(angles), rope) for angles, rope in graph.rotary.items()
        )
    ]
    return [*frequencies, *map(weight_table, graph.weights.values())]


def _write_layers(graph: Graph, project: str, package: Path, place: Place) -> None:
    """A model for each layer with all its operators, and those before and behind the layers.

    Layers that differ in their numbers only share a macro, which dbt reads once.
    """
    directory, macros = package / "models" / "layers", package / "macros"
    layers = range(graph.config.num_hidden_layers)
    before = ["step_input", *graph.rotary, "paged"]
    properties = properties_before_layers(graph)
    for name in before:
        write(directory / f"{name}.sql", model_before_layers(graph, name, place))
    for operator in graph.layer(None):
        if operator.name == "logits":  # Of the head, materializations take what they need.
            continue
        write(directory / f"{operator.name}.sql", operator_sql(graph, operator, place))
        properties.append(operator_properties(graph, operator))
        before += [] if operator.inputs else [operator.name]
    kinds: dict[str, str] = {}
    for layer in layers:
        body = _layer_body(graph, layer, place)
        kind = kinds.setdefault(body, f"layer_kind_{len(kinds)}")
        sql = render(
            "package/layer.sql",
            layer=layer,
            before=before if layer == 0 else [],
            macro=f"{project}.{kind}",
        )
        write(directory / f"{names.layer_model(layer)}.sql", sql)
        properties.append(layer_properties(graph, layer))
    _write_properties(directory / "_models.yml", properties)
    for body, kind in kinds.items():
        sql = render("package/layer_kind.sql", kind=kind, body=body)
        write(macros / f"{kind}.sql", sql)


def _layer_body(graph: Graph, layer: int, place: Place) -> str:
    """The SQL of a layer, where `name` stands for its name, and `before` for that before it."""
    operators = [o for o in graph.layer(layer) if not o.computes.only_traced]
    made = {operator.name for operator in operators}
    imports: dict[str, str] = {}
    for operator in operators:
        imports |= operator_imports(operator, place, made)
    sql = render(
        "package/layer_body.sql",
        imports=imports,
        ctes=[operator_ctes(graph, operator, place) for operator in operators],
        keys=names.parsed(graph.appended(layer).name).base,
        hidden=names.parsed(operators[-1].name).base,
    )
    sql = sql.replace(f"'{names.layer_model(layer)}__", "name ~ '__")
    return sql.replace(f"'{names.layer_model(layer - 1)}'", "before") if layer else sql


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
