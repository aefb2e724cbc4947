"""Writes `models/` and `analyses/`: everything that depends on the graph alone."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from relama import names
from relama.architectures.decoder import ANGLES
from relama.graph import Graph, Operator
from relama.passes.cut_blocks import is_small
from relama.project.describe import (
    COLOURS,
    kv_cache_properties,
    layer_properties,
    operator_comment,
    operator_properties,
    shared_kv_cache_properties,
)
from relama.project.manifest import LIBRARY, PAGE_SIZE
from relama.project.placing import place
from relama.project.render import render, write, write_yaml
from relama.project.staging import staged_tensors
from relama.project.weights import weight_properties, weight_sql
from relama.targets import Target


@dataclass(frozen=True)
class Place:
    """Where the SQL of operators stands.

    Attributes:
        target: the database that the models are for.
        parallelism: into how many parts attention cuts a step of many positions.
        packaged: whether it is the package of another project, where one model is all of a layer
            and another makes all tables of weights.
    """

    target: Target
    parallelism: int
    packaged: bool = False

    def weight(self, name: str) -> str:
        """What gives the table of a weight, in dbt's Jinja."""
        return f"relama.weight('{name}')" if self.packaged else f"ref('{name}').render()"


def write_models(
    graph: Graph,
    directory: Path,
    project: str,
    tokenizer: Mapping[str, Any],
    digest: str,
    parallelism: int,
    target: Target,
) -> None:
    """Writes `models/` and `analyses/`: everything that depends on the graph alone.

    Args:
        tokenizer: what `tokenizer_settings` gives, for the macros that read it.
        digest: of all that is computed from beside the tensors: the configuration, the
            tokenizer. Tables that depend on it are made again when it changes.
        parallelism: into how many parts attention cuts a step of many positions.
        target: the database that the models are for.
    """
    models = directory / "models"
    here = Place(target, parallelism)
    library = project == LIBRARY
    for weight in graph.weights.values():
        folder = models / "weights" / (_layer_folder(weight.layer) or "")
        write(folder / f"{weight.name}.sql", weight_sql(weight))
    for operator in graph.operators.values():
        folder = models / "layers" / (_layer_folder(operator.layer) or "")
        write(folder / f"{operator.name}.sql", operator_sql(graph, operator, here))
    layers = range(graph.config.num_hidden_layers)
    for layer in layers if target.cache_by_layer else [None]:
        write(
            models / "state" / f"{names.kv_cache(layer)}.sql",
            render("kv_cache.sql", layer=layer),
        )
    config = graph.config
    before = ["step_input", *graph.rotary, *(["paged"] if target.cache_by_layer else [])]
    for name in before:
        write(models / "layers" / f"{name}.sql", model_before_layers(graph, name, here))
    before += [operator.name for operator in graph.layer(None) if not operator.inputs]
    for layer in layers:
        sql = render(
            "layer.sql",
            layer=layer,
            before=before if layer == 0 else [],
            operators=[o.name for o in graph.layer(layer) if not o.computes.only_traced],
            appended=graph.appended(layer).name,
        )
        write(models / "layers" / names.layer_model(layer) / f"{names.layer_model(layer)}.sql", sql)
    whole = names.layer_models(len(layers))
    caches = names.kv_caches(len(layers)) if target.cache_by_layer else [names.KV_CACHE]
    for name in ("next_token", "step", "tokens", "sequences", "transcript"):
        sql = render(f"{name}.sql", config=config, layers=whole, caches=caches, target=target)
        write(models / "state" / f"{name}.sql", sql)
    small = ["vocabulary", *(["alphabet", "merges"] if target.has_batches else [])]
    for name in small:
        write(models / "weights" / f"{name}.sql", render(f"{name}.sql"))
    for angles in graph.rotary:
        name = names.inverse_frequencies(angles)
        sql = render("inverse_frequencies.sql", name=name)
        write(models / "weights" / f"{name}.sql", sql)

    for index in (None, *layers):
        subfolder = _layer_folder(index) or ""
        label = f"_{subfolder or 'models'}.yml"
        weights = [weight_properties(w) for w in graph.weights.values() if w.layer == index]
        operators = [operator_properties(graph, operator) for operator in graph.layer(index)]
        if index is None:
            for angles, rope in graph.rotary.items():
                name = names.inverse_frequencies(angles)
                weights += fixed_properties(
                    "weights.yml", graph, name=name, rope=rope, digest=digest
                )
            tables = fixed_properties("tokenizer.yml", graph, tokenizer=tokenizer, digest=digest)
            weights += [table for table in tables if table["name"] in small]
            before_layers = properties_before_layers(graph)
            operators = [m for m in before_layers if m["name"] in before] + operators
        else:
            operators.append(layer_properties(graph, index))
        for kind, described in (("weights", weights), ("layers", operators)):
            placed = [place(model, project) for model in described]
            write_yaml(models / kind / subfolder / label, {"models": placed})
    state = fixed_properties("state.yml", graph)
    if target.cache_by_layer:
        state += [kv_cache_properties(graph, layer) for layer in layers]
    else:
        state.append(shared_kv_cache_properties(graph))
    write_yaml(
        models / "state" / "_models.yml",
        {"models": [place(model, project) for model in state]},
    )
    write(models / "_sources.yml", _sources(graph, project, target))
    write(models / "_exposures.yml", render("exposures.yml", project=project, library=library))
    write(models / "_overview.md", render("overview.md", project=project, config=config))

    analyses = directory / "analyses"
    write(analyses / "candidates.sql", render("candidates.sql", layers=whole, library=library))
    head = graph.weights[str(graph.operators["logits"].weight)]
    sql = render(
        "score.sql",
        layers=whole,
        head=head,
        logits=graph.operators["logits"].computes,
        library=library,
    )
    write(analyses / "score.sql", sql)
    states = _hidden_states(graph)
    sql = render("hidden_states.sql", layers=whole, names=states, library=library)
    write(analyses / "hidden_states.sql", sql)
    for layer in layers if target.cache_by_layer else ():
        sql = render(
            "kv_pages.sql",
            library=library,
            head_dim=graph.shapes[graph.appended(layer).name][1],
            cache=names.kv_cache(layer),
            pages=names.kv_pages(layer),
            page_size=PAGE_SIZE,
        )
        write(analyses / f"{names.kv_pages(layer)}.sql", sql)


def model_inputs(graph: Graph, target: Target) -> dict[str, tuple[str, ...]]:
    """The models that each model of a step reads that is no operator.

    Weights and what earlier steps have left are tables, and not among them.
    """
    layers = range(graph.config.num_hidden_layers)
    whole = names.layer_models(len(layers))
    return {
        "step_input": (),
        **dict.fromkeys(graph.rotary, ("step_input",)),
        **({"paged": ("step_input",)} if target.cache_by_layer else {}),
        **{names.layer_model(layer): (graph.appended(layer).name,) for layer in layers},
        "next_token": ("logits",),
        "step": (*whole, "next_token"),
        "candidates": ("logits",),
        "score": (*whole, "final_norm"),
        "hidden_states": tuple(_hidden_states(graph)),
    }


def _hidden_states(graph: Graph) -> list[str]:
    """The hidden state after the embedding, after every layer and after the final norm."""
    layers = range(graph.config.num_hidden_layers)
    return ["embedding", *(list(graph.layer(layer))[-1].name for layer in layers), "final_norm"]


def operator_sql(graph: Graph, operator: Operator, place: Place) -> str:
    """The model of an operator."""
    return render(
        "operator.sql",
        packaged=place.packaged,
        comment=operator_comment(graph, operator),
        imports=operator_imports(operator, place),
        ctes=operator_ctes(graph, operator, place),
        name=names.parsed(operator.name).base,
    )


def operator_imports(
    operator: Operator, place: Place, made: Collection[str] = ()
) -> dict[str, str]:
    """The CTEs that stand for what an operator reads, and the relation behind each.

    Args:
        made: operators that the same model computes.
    """
    imports = {
        _import(operator, name): _input(operator, name, place)
        for name in (*operator.inputs, *operator.computes.step_models)
        if name not in made
    }
    for table in operator.computes.state_tables:
        by_layer = place.target.cache_by_layer
        name = names.operator(table, operator.layer) if by_layer else table
        imports[table] = f"{{{{ source('state', '{name}').render() }}}}"
        if not by_layer:
            imports[table] += f"\n    where layer = {operator.layer}"
    return imports


def _import(operator: Operator, name: str) -> str:
    """What an operator calls a model that it reads: `hidden` where a layer hands it on."""
    layer, base = names.parsed(name)
    of_step = name in operator.computes.step_models
    return base if of_step or layer == operator.layer else "hidden"


def _input(operator: Operator, name: str, place: Place) -> str:
    """What reads a model; in a package, that of its layer is what there is of another's."""
    layer = names.parsed(name).layer
    if not place.packaged or layer is None or layer == operator.layer:
        return f"{{{{ relama.input('{name}') }}}}"
    whole = f"{{{{ relama.input('{names.layer_model(layer)}') }}}}"
    return f"{whole}\n    where layer is null"


def operator_ctes(graph: Graph, operator: Operator, place: Place) -> str:
    """The template of an operator's kind, filled in: a CTE of its name, which calls its macro."""
    weight = graph.weights[operator.weight] if operator.weight else None
    return render(
        f"{operator.kind}.sql",
        name=names.parsed(operator.name).base,
        reads=[_import(operator, name) for name in operator.inputs],
        weight=place.weight(weight.name) if weight else None,
        attributes=operator.computes,
        shape=graph.shapes[operator.name],
        parallelism=place.parallelism,
        bias=weight.has_bias if weight else False,
        blocks=weight.blocks if weight else 0,
        small=weight is not None and weight.blocks > 1 and is_small(weight),
        storage=weight.storage if weight else None,
    ).rstrip()


def staged_names(graph: Graph, target: Target) -> list[tuple[str, str]]:
    """The staged tables, by name, and what each is of."""
    staged = [(item.name, item.tensor) for item in staged_tensors(graph)]
    for angles in graph.rotary:
        name = names.inverse_frequencies(angles)
        staged.append((name, "the rotary embedding's inverse frequencies"))
    staged.append(("vocabulary", "the tokenizer's vocabulary"))
    if target.has_batches:
        staged.append(("merges", "the tokenizer's merges, best first"))
        staged.append(("alphabet", "the letters that the tokenizer spells words in"))
    return staged


def _sources(graph: Graph, project: str, target: Target) -> str:
    layers = graph.config.num_hidden_layers
    by_layer = target.cache_by_layer
    return render(
        "sources.yml",
        project=project,
        library=project == LIBRARY,
        staged=staged_names(graph, target),
        target=target,
        caches=names.kv_caches(layers) if by_layer else [names.KV_CACHE],
        pages=names.all_kv_pages(layers) if by_layer else [],
    )


def model_before_layers(graph: Graph, name: str, place: Place) -> str:
    """The model `step_input`, `paged`, or one of the angles of rotary embedding."""
    rope = graph.rotary.get(name)
    return render(
        "rotary_angles.sql" if rope else f"{name}.sql",
        packaged=place.packaged,
        config=graph.config,
        windows=graph.windows,
        pages=names.kv_pages(_keeps_most(graph)),
        inverse_frequencies=place.weight(names.inverse_frequencies(name)),
        attention_factor=rope.attention_factor if rope else 1,
        long_factors=bool(rope and rope.long_factor),
    )


def _keeps_most(graph: Graph) -> int:
    """The first layer that attends to all positions, or else to the most."""
    layers = range(graph.config.num_hidden_layers)
    return max(layers, key=lambda layer: graph.windows.get(layer, math.inf))


def properties_before_layers(graph: Graph) -> list[dict[str, Any]]:
    """The YAML entries of those models."""
    entries = fixed_properties("layers.yml", graph)
    (angles,) = (entry for entry in entries if entry["name"] == ANGLES)
    others = [{**angles, "name": name} for name in graph.rotary if name != ANGLES]
    for entry in (angles, *others):
        if graph.rotary[entry["name"]].long_factor:
            sequence = {
                "name": "sequence_id",
                "description": "The sequence: a long one is turned by other factors.",
            }
            entry["columns"] = [sequence, *entry["columns"]]
    return [*entries, *others]


def fixed_properties(template: str, graph: Graph, **values: Any) -> list[dict[str, Any]]:
    """The YAML entries of models that every graph has."""
    text = render(template, config=graph.config, colours=COLOURS, **values)
    return list(yaml.safe_load(text)["models"])


def _layer_folder(layer: int | None) -> str | None:
    return None if layer is None else names.layer_model(layer)
