"""Passes: each takes a graph and gives an equivalent one. One file a pass."""

from __future__ import annotations

from collections.abc import Callable, Collection

from generator.errors import InputError
from generator.graph import Graph
from generator.passes.choose_storage import choose_storage
from generator.passes.fuse_gate_up import fuse_gate_up
from generator.passes.fuse_qkv import fuse_qkv

__all__ = ["PASSES", "run_passes"]

#: All passes, in the order in which they run.
PASSES: dict[str, Callable[[Graph], Graph]] = {
    "fuse_qkv": fuse_qkv,
    "fuse_gate_up": fuse_gate_up,
    "choose_storage": choose_storage,
}


def run_passes(graph: Graph, disabled: Collection[str] = ()) -> Graph:
    """Runs every pass that is not disabled.

    Raises:
        InputError: `disabled` names a pass that does not exist.
    """
    for name in disabled:
        if name not in PASSES:
            raise InputError(f"There is no pass '{name}'; passes: {', '.join(PASSES)}.")
    for name, run in PASSES.items():
        if name not in disabled:
            graph = run(graph)
    return graph
