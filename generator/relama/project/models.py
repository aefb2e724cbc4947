"""Writes `models/` and `analyses/`: everything that depends on the graph alone."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from relama import names
from relama.config import ModelConfig
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
from relama.project.placing import as_a_part, place
from relama.project.render import render, write, write_yaml
from relama.project.staging import staged_tensors
from relama.project.weights import weight_properties, weight_sql
from relama.targets import Target


def write_models(
    graph: Graph,
    directory: Path,
    project: str,
    tokenizer: Mapping[str, Any],
    language_model: Mapping[str, Any],
    digest: str,
    written: str,
    parallelism: int,
    target: Target,
) -> None:
    """Writes `models/` and `analyses/`: everything that depends on the graph alone.

    Args:
        tokenizer: what `tokenizer_settings` gives, for the macros that read it.
        language_model: what `language_model_settings` gives, likewise.
        digest: of all that is computed from beside the tensors: the configuration, the
            tokenizer. Tables that depend on it are made again when it changes.
        written: a digest of all of the model, tensors included, which its tables bear once they
            are built from it; answers depend on it.
        parallelism: into how many parts attention cuts a step of many positions.
        target: the database that the models are for.
    """
    models = directory / "models"
    for weight in graph.weights.values():
        folder = models / "weights" / (_layer_folder(weight.layer) or "")
        write(folder / f"{weight.name}.sql", weight_sql(weight))
    for operator in graph.operators.values():
        folder = models / "layers" / (_layer_folder(operator.layer) or "")
        write(folder / f"{operator.name}.sql", operator_sql(graph, operator, parallelism, target))
    layers = range(graph.config.num_hidden_layers)
    for layer in layers if target.cache_by_layer else [None]:
        write(
            models / "state" / f"{names.kv_cache(layer)}.sql",
            render("kv_cache.sql", layer=layer),
        )
    config = graph.config
    before = ["step_input", "rotary_angles"]
    if target.cache_by_layer:
        before.append("paged")
    for name in before:
        write(models / "layers" / f"{name}.sql", render(f"{name}.sql", config=config))
    before += [operator.name for operator in graph.layer(None) if not operator.inputs]
    for layer in layers:
        sql = _layer_sql(graph, layer, before if layer == 0 else [], parallelism, target)
        write(models / "layers" / names.layer_model(layer) / f"{names.layer_model(layer)}.sql", sql)
    whole = names.layer_models(len(layers))
    caches = names.kv_caches(len(layers)) if target.cache_by_layer else [names.KV_CACHE]
    for name in ("next_token", "step", "tokens", "sequences", "transcript"):
        sql = render(f"{name}.sql", config=config, layers=whole, caches=caches, target=target)
        write(models / "state" / f"{name}.sql", sql)
    for name in ("inverse_frequencies", "vocabulary"):
        sql = f"select * from {{{{ relama.staged(source('staged_weights', '{name}')) }}}}\n"
        write(models / "weights" / f"{name}.sql", sql)
    for name in ("alphabet", "merges") if target.has_batches else ():
        write(models / "weights" / f"{name}.sql", render(f"{name}.sql"))

    for index in (None, *layers):
        subfolder = _layer_folder(index) or ""
        label = f"_{subfolder or 'models'}.yml"
        weights = [weight_properties(w) for w in graph.weights.values() if w.layer == index]
        if target.has_batches:
            weights = [as_a_part(weight, "weights", project) for weight in weights]
        operators = [operator_properties(graph, operator) for operator in graph.layer(index)]
        if index is not None:
            # As a package, the operators are within the model of their layer.
            operators = [place(model, project, as_package=False) for model in operators]
            operators.append(place(layer_properties(graph, index), project))
        else:
            weights += _fixed_properties(
                "weights.yml", config, tokenizer=tokenizer, digest=digest, target=target
            )
            operators = _fixed_properties("layers.yml", config, target=target) + operators
            operators = [place(model, project) for model in operators]
        weights = [place(model, project) for model in weights]
        if index is None and target.has_batches:
            (whole_model,) = _fixed_properties("weights_together.yml", config)
            weights.append(place(whole_model, project, as_root=False))
        for kind, placed in (("weights", weights), ("layers", operators)):
            write_yaml(models / kind / subfolder / label, {"models": placed})
    state = _fixed_properties("state.yml", config)
    if target.cache_by_layer:
        state += [kv_cache_properties(graph, layer) for layer in layers]
    else:
        state.append(shared_kv_cache_properties(graph))
    write_yaml(
        models / "state" / "_models.yml",
        {"models": [place(model, project, as_package=False) for model in state]},
    )
    write(models / "_sources.yml", _sources(graph, project, target))
    write(models / "_exposures.yml", render("exposures.yml", project=project))
    write(models / "_overview.md", render("overview.md", project=project, config=config))

    head = language_model["head"]
    if target.has_batches:
        sql = render("forward_pass.sql", layers=whole, head=head)
        write(models / "batch" / "forward_pass.sql", sql)
        write(models / "weights" / "weights.sql", render("weights.sql", weights=graph.weights))
        language_model = {**language_model, "written": written}
        batch = _fixed_properties("batch.yml", config, language_model=language_model)
        write_yaml(
            models / "batch" / "_models.yml",
            {"models": [place(model, project, as_root=False) for model in batch]},
        )
    analyses = directory / "analyses"
    write(analyses / "candidates.sql", render("candidates.sql", layers=whole))
    write(analyses / "score.sql", render("score.sql", layers=whole, head=graph.weights[head]))
    sql = render("hidden_states.sql", layers=whole, names=_hidden_states(graph))
    write(analyses / "hidden_states.sql", sql)
    for layer in layers if target.cache_by_layer else ():
        sql = render(
            "kv_pages.sql",
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
        "rotary_angles": ("step_input",),
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


def operator_sql(graph: Graph, operator: Operator, parallelism: int, target: Target) -> str:
    """The model of an operator."""
    return render(
        "operator.sql",
        comment=operator_comment(graph, operator),
        imports=_imports(operator, target),
        ctes=_ctes(graph, operator, parallelism),
        name=names.parsed(operator.name).base,
    )


def _layer_sql(
    graph: Graph, layer: int, before: Sequence[str], parallelism: int, target: Target
) -> str:
    """The model that stands for a layer, and for the models `before` it.

    As a package of another project it holds the operators, which are models of their own
    otherwise: dbt takes as long over each of some hundreds of models as over a table.
    """
    operators = [o for o in graph.layer(layer) if not o.computes.only_traced]
    made = {operator.name for operator in operators}
    imports: dict[str, str] = {}
    for operator in operators:
        imports |= _imports(operator, target, made)
    appended = graph.appended(layer).name
    return render(
        "layer.sql",
        layer=layer,
        as_package=target.has_batches,
        before=before,
        operators=[operator.name for operator in operators],
        imports=imports,
        ctes=[_ctes(graph, operator, parallelism) for operator in operators],
        appended=appended,
        keys=names.parsed(appended).base,
        hidden=names.parsed(operators[-1].name).base,
    )


def _imports(operator: Operator, target: Target, made: Collection[str] = ()) -> dict[str, str]:
    """The CTEs that stand for what an operator reads, and the relation behind each.

    Args:
        made: operators that the same model computes.
    """
    imports = {
        _import(operator, name): _input(operator, name)
        for name in (*operator.inputs, *operator.computes.step_models)
        if name not in made
    }
    for table in operator.computes.state_tables:
        name = names.operator(table, operator.layer) if target.cache_by_layer else table
        imports[table] = f"{{{{ source('state', '{name}').render() }}}}"
        if not target.cache_by_layer:
            imports[table] += f"\n    where layer = {operator.layer}"
    return imports


def _import(operator: Operator, name: str) -> str:
    """What an operator calls a model that it reads: `hidden` where a layer hands it on."""
    layer, base = names.parsed(name)
    of_step = name in operator.computes.step_models
    return base if of_step or layer == operator.layer else "hidden"


def _input(operator: Operator, name: str) -> str:
    """What reads a model; as a package, that of its layer is what there is of another's."""
    layer = names.parsed(name).layer
    if layer is None or layer == operator.layer:
        return f"{{{{ relama.input('{name}') }}}}"
    return f"{{{{ relama.input('{name}', '{names.layer_model(layer)}') }}}}"


def _ctes(graph: Graph, operator: Operator, parallelism: int) -> str:
    """The template of an operator's kind, filled in: a CTE of its name, which calls its macro."""
    weight = graph.weights[operator.weight] if operator.weight else None
    return render(
        f"{operator.kind}.sql",
        name=names.parsed(operator.name).base,
        reads=[_import(operator, name) for name in operator.inputs],
        weight=operator.weight,
        attributes=operator.computes,
        parallelism=parallelism,
        bias=weight.has_bias if weight else False,
        blocks=weight.blocks if weight else 0,
        small=weight is not None and weight.blocks > 1 and is_small(weight),
        storage=weight.storage if weight else None,
    ).rstrip()


def _sources(graph: Graph, project: str, target: Target) -> str:
    staged = [(item.name, item.tensor) for item in staged_tensors(graph)]
    staged.append(("inverse_frequencies", "the rotary embedding's inverse frequencies"))
    staged.append(("vocabulary", "the tokenizer's vocabulary"))
    if target.has_batches:
        staged.append(("merges", "the tokenizer's merges, best first"))
        staged.append(("alphabet", "the letters that the tokenizer spells words in"))
    layers = graph.config.num_hidden_layers
    by_layer = target.cache_by_layer
    return render(
        "sources.yml",
        project=project,
        library=project == LIBRARY,
        staged=staged,
        target=target,
        caches=names.kv_caches(layers) if by_layer else [names.KV_CACHE],
        pages=names.all_kv_pages(layers) if by_layer else [],
    )


def _fixed_properties(template: str, config: ModelConfig, **values: Any) -> list[dict[str, Any]]:
    text = render(template, config=config, colours=COLOURS, **values)
    models = yaml.safe_load(text)["models"]
    return list(models)


def _layer_folder(layer: int | None) -> str | None:
    return None if layer is None else names.layer_model(layer)
