"""Weight tables: what their YAML and their SQL say, by shape and storage."""

from __future__ import annotations

from relama import names
from relama.graph import Weight
from relama.project.describe import COLOURS, Properties, described, tags
from relama.project.render import render
from relama.storage import STORAGES


def weight_properties(weight: Weight) -> Properties:
    """The YAML entry of a weight table: what it is made of, and the tests of its content."""
    tensors = ", ".join(f"`{part.tensor}`" for part in weight.parts)
    return {
        "name": weight.name,
        "description": f"Weights [{weight.rows}, {weight.columns}], {weight.storage}: {tensors}.",
        "config": {
            "tags": tags(weight.layer, "weights"),
            "docs": {"node_color": COLOURS["weights"]},
        },
        "columns": described(_columns(weight)),
        "data_tests": _tests(weight),
    }


def weight_sql(weight: Weight) -> str:
    """The model of a weight table: its parts stacked, rounded and laid out."""
    return render("weight.sql", table=weight_table(weight))


def weight_table(weight: Weight) -> Properties:
    """The arguments of the macro `weight_table`, tensors by the names of their sources."""
    parts: list[Properties] = []
    for part in weight.parts:
        staged: Properties = {"tensor": names.staged(part.tensor)}
        if part.bias:
            staged["bias"] = names.staged(part.bias)
        parts.append({**staged, "rows": part.rows})
    return {
        "name": weight.name,
        "parts": parts,
        "storage": weight.storage,
        "blocks": weight.blocks,
        "num_experts": weight.num_experts,
    }


def _columns(weight: Weight) -> dict[str, str]:
    storage = STORAGES[weight.storage]
    if weight.blocks:
        rows = weight.rows // (weight.num_experts or 1)
        columns = {
            f"block_{block}": (
                f"Output features {rows * block // weight.blocks} to "
                f"{rows * (block + 1) // weight.blocks - 1}: the weights of all "
                f"{weight.columns} input features of each{storage.block_words}."
            )
            for block in range(weight.blocks)
        }
        if weight.num_experts:
            columns = {
                "expert_id": "The expert; NULL in the rows that fill a row group.",
                **columns,
            }
        columns |= storage.block_columns
    else:
        columns = {
            "row_id": "The output feature; for the embedding, the token id.",
            "vector": f"The weights of all {weight.columns} input features.",
            **storage.row_columns,
        }
    if weight.has_bias:
        columns["bias"] = "What is added to the output feature."
    return columns


def _tests(weight: Weight) -> list[Properties]:
    storage = STORAGES[weight.storage]
    arguments: Properties = {"rows": weight.rows, "columns": weight.columns}
    layout: Properties = {"blocks": weight.blocks}
    if weight.num_experts and weight.blocks:
        layout["num_experts"] = weight.num_experts
    if weight.blocks:
        arguments |= layout
    arguments |= storage.test_arguments
    tests: list[Properties] = [{"relama.matrix": {"arguments": arguments}}]
    if storage.quantised:
        staged = [names.staged(part.tensor) for part in weight.parts]
        arguments = {"staged": staged, "rows": [part.rows for part in weight.parts]}
        arguments |= {**layout, **storage.test_arguments}
        tests.append({"relama.quantization_error": {"arguments": arguments}})
    return tests
