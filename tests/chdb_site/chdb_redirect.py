"""Directs `clickhouse_connect.get_client` to ClickHouse in this process.

The wheel `chdb` is ClickHouse as a library. Where the environment variable `VARIABLE` names a
directory when a client is asked for, the client is one of the database in that directory,
whatever host and password are given. `install` imports neither library.

One process has one directory at a time, and one directory is open in one process at a time.
It is free again when the last client is closed or the process ends. A fork of a process that
has opened one cannot open any: it hangs.
"""

from __future__ import annotations

import os
import sys
import weakref
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

VARIABLE = "RELAMA_TEST_CHDB"
_MODULE = "clickhouse_connect"
#: What means something without a server. Others are of HTTP, as host and user are.
_KNOWN = ("database", "settings", "query_limit", "tz_source", "tz_mode", "show_clickhouse_errors")


class _Redirected:
    """`get_client`, which remembers the clients that are open."""

    def __init__(self, get_client: Callable[..., Any]) -> None:
        self.get_client = get_client
        self.clients: weakref.WeakSet[Any] = weakref.WeakSet()

    def __call__(self, **given: Any) -> Any:
        directory = os.environ.get(VARIABLE)
        if not directory:
            return self.get_client(**given)
        known = {name: given[name] for name in _KNOWN if name in given}
        client = self.get_client(interface="chdb", path=directory, **known)
        self.clients.add(client)
        return client


class _Finder(MetaPathFinder):
    """Finds the library as Python does, and directs it once it is imported."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, path, target) if name == _MODULE else None
        if spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def execute_and_direct(module: ModuleType) -> None:
            execute(module)
            _direct(module)

        spec.loader.exec_module = execute_and_direct  # type: ignore[method-assign]
        return spec


def install() -> None:
    """From now on clients are directed, whether the library is imported yet or not."""
    if _MODULE in sys.modules:
        _direct(sys.modules[_MODULE])
    elif not any(type(finder).__name__ == _Finder.__name__ for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


def close_clients() -> None:
    """Closes what is still open in this process, so that it can open another directory."""
    if _MODULE in sys.modules:
        for client in list(sys.modules[_MODULE].get_client.clients):
            client.close()
    adapter = sys.modules.get("dbt.adapters.clickhouse.dbclient")
    if adapter is not None:
        # dbt remembers which databases it has made; another directory has none of them.
        adapter._ensured_databases.clear()


def _direct(module: ModuleType) -> None:
    """Does so once. This file may be imported under two names, hence not by `isinstance`."""
    if not hasattr(module.get_client, "clients"):
        module.get_client = _Redirected(module.get_client)  # type: ignore[attr-defined]
