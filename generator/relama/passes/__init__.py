"""Passes: each takes a graph and gives an equivalent one. One file per pass."""

from __future__ import annotations

from collections.abc import Callable, Collection

from relama.errors import InputError
from relama.graph import Graph
from relama.passes.choose_storage import STORAGES, choose_storage
from relama.passes.cut_blocks import cut_blocks
from relama.passes.fuse_gate_up import fuse_gate_up
from relama.passes.fuse_qkv import fuse_qkv

__all__ = ["PASSES", "STORAGES", "run_passes"]

#: All passes that can be left out, in the order in which they run.
PASSES: dict[str, Callable[[Graph], Graph]] = {
    "fuse_qkv": fuse_qkv,
    "fuse_gate_up": fuse_gate_up,
    "cut_blocks": cut_blocks,
}


def run_passes(graph: Graph, storage: str = "float32", disabled: Collection[str] = ()) -> Graph:
    """Chooses the storage and runs every pass that is not disabled.

    Raises:
        InputError: `disabled` names a pass that does not exist or that the storage needs,
            or `storage` is unknown.
    """
    if storage not in STORAGES:
        raise InputError(f"There is no storage '{storage}'; storages: {', '.join(STORAGES)}.")
    for name in disabled:
        if name not in PASSES:
            raise InputError(f"There is no pass '{name}'; passes: {', '.join(PASSES)}.")
    if storage == "int4" and "cut_blocks" in disabled:
        raise InputError("The storage int4 needs the pass cut_blocks.")
    graph = choose_storage(graph, storage)
    for name, run in PASSES.items():
        if name not in disabled:
            graph = run(graph)
    return graph
