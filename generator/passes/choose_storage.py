"""Chooses how each weight is stored.

`float32` keeps a row as `FLOAT[]`. A weight whose storage is not chosen is
stored as float32 too: turning the pass off leaves the result equal.
"""

from __future__ import annotations

from dataclasses import replace

from generator.graph import Graph


def choose_storage(graph: Graph) -> Graph:
    """Marks every weight as `float32`, the only storage there is today."""
    return graph.rebuilt(
        {name: replace(weight, storage="float32") for name, weight in graph.weights.items()}
    )
