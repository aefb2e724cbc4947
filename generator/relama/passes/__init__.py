"""Passes: each takes a graph and gives an equivalent one. One file per pass."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial

from relama.errors import InputError
from relama.graph import Graph
from relama.passes.choose_storage import choose_storage
from relama.passes.cut_blocks import PARALLELISM, cut_blocks
from relama.passes.fuse_gate_up import fuse_gate_up
from relama.passes.fuse_qkv import fuse_qkv
from relama.passes.leave_out_pages import leave_out_pages
from relama.storage import CHOICES, STORAGES
from relama.targets import DEFAULT, Target

__all__ = ["PARALLELISM", "PASSES", "run_passes"]

#: All passes that can be left out, in the order in which they run.
PASSES: dict[str, Callable[[Graph], Graph]] = {
    "fuse_qkv": fuse_qkv,
    "fuse_gate_up": fuse_gate_up,
    "cut_blocks": cut_blocks,
}


def run_passes(
    graph: Graph,
    storage: str = "float32",
    disabled: Collection[str] = (),
    parallelism: int = PARALLELISM,
    target: Target = DEFAULT,
) -> Graph:
    """Chooses the storage and runs every pass that is not disabled.

    Args:
        graph: as an architecture builds it.
        storage: one of `relama.storage.CHOICES`.
        disabled: names of passes to leave out.
        parallelism: parts that a large matrix is cut into, which threads multiply at once.
        target: the database; what it has no use for is left out.

    Raises:
        InputError: `disabled` names a pass that does not exist or that the storage needs,
            `storage` is unknown, or `parallelism` is less than 1.
    """
    if storage not in CHOICES:
        raise InputError(f"There is no storage '{storage}'; storages: {', '.join(CHOICES)}.")
    if parallelism < 1:
        raise InputError(f"parallelism is {parallelism}; give a number of threads, at least 1.")
    for name in disabled:
        if name not in PASSES:
            raise InputError(f"There is no pass '{name}'; passes: {', '.join(PASSES)}.")
    if STORAGES[storage].needs_blocks and "cut_blocks" in disabled:
        raise InputError(f"The storage {storage} needs the pass cut_blocks.")
    graph = choose_storage(graph, storage)
    if not target.has_blocks:
        disabled = {*disabled, "cut_blocks"}
    if not target.cache_by_layer:
        graph = leave_out_pages(graph)
    passes = PASSES | {"cut_blocks": partial(cut_blocks, parallelism=parallelism)}
    for name, run in passes.items():
        if name not in disabled:
            graph = run(graph)
    return graph
